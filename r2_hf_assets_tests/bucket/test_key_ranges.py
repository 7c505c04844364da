"""A long listing in ranges: no name lost, none twice, in order, listed by key or by name."""

import bisect
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r2_hf_assets.bucket import listing, pages
from r2_hf_assets.bucket.key_ranges import find_boundaries, is_past
from r2_hf_assets.bucket.pages import Order
from r2_hf_assets.bucket.transfers import Bucket as RealBucket
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import BucketSettings
from r2_hf_assets_tests.bucket.folders import BELOW, LETTERS, NAMES, FolderListing, episode_ids
from r2_hf_assets_tests.support.build_samples import fetch_threads
from r2_hf_assets_tests.support.objects_server import ObjectsServer
from r2_hf_assets_tests.support.world import World

QUICK = Retry(attempts=2, base=0.001)
BY_KEY = ["p/a b/", "p/a-x/", "p/a/", "p/a0/", "p/b/"]
BY_NAME = ["p/a/", "p/a b/", "p/a-x/", "p/a0/", "p/b/"]


def listed(bucket: FolderListing, monkeypatch: pytest.MonkeyPatch, pages_before_split: int = 1) -> list[str]:
    monkeypatch.setattr(listing, "_PAGES_BEFORE_SPLIT", pages_before_split)
    monkeypatch.setattr(listing, "_LONGER", 1)
    with ObjectsServer({}, bucket.respond) as server:
        return episode_ids(server.bucket(), "processed/", "en", QUICK)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(names=NAMES, size=st.integers(1, 7), by_name=st.booleans(), repeats=st.booleans())
def test_every_name_once_and_in_order(names, size, by_name, repeats):
    with pytest.MonkeyPatch.context() as patch:
        bucket = FolderListing(names, size, by_name=by_name, repeats=repeats)
        assert listed(bucket, patch) == bucket.names


def test_a_name_that_is_a_prefix_of_another_is_not_lost_at_a_boundary(monkeypatch):
    """The second range begins at `b`; the names that begin with it are before or behind it."""
    names = [*(f"a{number}" for number in range(9)), "b", "b-1", "b-2", "c"]
    for by_name in (False, True):
        bucket = FolderListing(names, 2, by_name=by_name)
        assert listed(bucket, monkeypatch) == bucket.names


def test_a_listing_of_few_pages_is_not_split(monkeypatch):
    bucket = FolderListing((f"ep{number:06d}" for number in range(40)), 5, by_name=False)
    assert len(listed(bucket, monkeypatch, pages_before_split=8)) == 40
    assert bucket.requests == 8
    longer = FolderListing((f"ep{number:06d}" for number in range(400)), 5, by_name=False)
    assert len(listed(longer, monkeypatch, pages_before_split=8)) == 400
    assert longer.requests > 80, "80 pages and the requests for boundaries"
    assert fetch_threads() == []


def test_ranges_and_the_search_for_their_boundaries_share_connections(monkeypatch):
    monkeypatch.setattr(listing, "_PAGES_BEFORE_SPLIT", 1)
    bucket = FolderListing((f"ep{number:06d}" for number in range(400)), 5, by_name=False)
    with ObjectsServer({}, bucket.respond) as server:
        assert len(episode_ids(server.bucket(), "processed/", "en", QUICK)) == 400
    assert server.connections <= 8 and bucket.requests > 80


def boundaries_of(names: Iterable[str], page: int, end: str | None = None) -> tuple[list[str], int]:
    """Return the boundaries behind the first `page` names, and the number of requests."""
    known, requests = sorted(names), 0

    def first(text: str) -> str | None:
        nonlocal requests
        requests += 1
        index = bisect.bisect_right(known, text)
        return known[index] if index < len(known) else None

    return find_boundaries(first, known[0], known[page - 1], end), requests


def test_consecutive_numbers_are_split_at_the_first_digit_that_differs():
    boundaries, requests = boundaries_of((f"ep{number:09d}" for number in range(100_000)), 1000)
    assert boundaries == [f"ep{number:09d}" for number in range(10_000, 100_000, 10_000)]
    assert requests < 25


def test_random_names_are_split_by_their_first_letter():
    boundaries, requests = boundaries_of((f"{number * 2654435761 % 2**32:08x}" for number in range(20_000)), 1000)
    assert [boundary[0] for boundary in boundaries] == list("123456789abcdef")
    assert requests < 25


def test_one_distant_name_does_not_end_the_search():
    boundaries, _ = boundaries_of([*(f"ep{number:06d}" for number in range(5000)), "zz"], 100)
    assert boundaries[-1] == "zz" and len(boundaries) >= 8


@given(names=st.sets(st.text(LETTERS, max_size=5), min_size=2, max_size=80), data=st.data())
@settings(deadline=None, derandomize=True)
def test_boundaries_are_names_behind_the_page_and_before_the_end(names, data):
    known = sorted(names)
    page = data.draw(st.integers(1, len(known) - 1))
    end = data.draw(st.one_of(st.none(), st.sampled_from(known[page:])))
    boundaries, requests = boundaries_of(known, page, end)
    assert boundaries == sorted(set(boundaries) & set(known[page:]))
    assert end is None or all(boundary < end for boundary in boundaries)
    assert requests < 100


def test_a_server_that_ignores_start_after_gives_no_boundaries():
    assert find_boundaries(lambda text: "ep000", "ep000", "ep009") == []


def test_a_real_server_lists_the_same_names_in_ranges(world: World, monkeypatch):
    s3 = world.sandbox.s3
    names = [*(f"ep{number:04d}" for number in range(0, 300, 3)), "a", "a b", "a+b", "b%41", "é", "zz", "日本"]
    for name in names:
        world.store().put(f"{BELOW}{name}/all_segments.json", b"[]")
    store = RealBucket(BucketSettings(s3.endpoint_url, s3.access_key, s3.secret_key, world.bucket))

    def small(*arguments: Any, max_keys: int = 5, **where: Any) -> Any:
        return pages.list_pages(*arguments, max_keys=max_keys, **where)

    monkeypatch.setattr(listing, "list_pages", small)
    monkeypatch.setattr(listing, "_PAGES_BEFORE_SPLIT", 2)
    assert episode_ids(store, "processed/", "en", QUICK) == sorted(names)


@pytest.mark.parametrize("listing", [BY_KEY, BY_NAME], ids=["by key", "by name"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_pages_in_either_order_are_accepted(listing: list[str], size: int) -> None:
    order = Order()
    pages = [order.follow(listing[place : place + size]) for place in range(0, 5, size)]
    assert [prefix for page in pages for prefix in page or ()] == listing
    assert order.follow([]) == []


def test_a_repeated_prefix_is_dropped() -> None:
    order = Order("p/a/")
    assert order.follow(["p/a/", "p/b/", "p/b/"]) == ["p/b/"]
    assert order.follow(["p/b/"]) == []
    assert order.follow(["p/b/", "p/c/", "p/c/", "p/c/"]) == ["p/c/"]


@pytest.mark.parametrize("listing", [BY_KEY, BY_NAME], ids=["by key", "by name"])
def test_a_page_out_of_order_is_rejected_without_a_change_of_state(listing: list[str]) -> None:
    for page in (["p/b/", "p/a0/"], ["p/c/", "p/a/"]):
        order = Order()
        assert order.follow(listing) == listing
        assert order.follow(page) is None
        assert order.follow(["p/c/"]) == ["p/c/"]


def test_a_listing_has_one_order() -> None:
    """Otherwise the last two prefixes of a page could be repeated on the next one."""
    order = Order()
    assert order.follow(["p/a!/", "p/a-x/", "p/a/"]) is not None
    assert order.follow(["p/a-x/", "p/a/", "p/b/"]) is None


def test_a_range_ends_where_both_orders_have_passed_its_end() -> None:
    assert [prefix for prefix in BY_KEY if is_past(prefix, "p/a/")] == ["p/a/", "p/a0/", "p/b/"]
    assert not is_past("p/a-x/", "p/a/") and is_past("p/a-x/", "p/a-x/") and not is_past("p/a/", "p/a-x/")
