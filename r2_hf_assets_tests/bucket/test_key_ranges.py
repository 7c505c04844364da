"""A long listing in ranges is the listing: no name lost, none twice, in order, listed by key or by name."""

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


def test_a_name_that_another_begins_with_is_not_lost_at_a_cut(monkeypatch):
    """`b` is where the second range begins, and what begins with it lies on one side of it or the other."""
    names = [*(f"a{number}" for number in range(9)), "b", "b-1", "b-2", "c"]
    for by_name in (False, True):
        bucket = FolderListing(names, 2, by_name=by_name)
        assert listed(bucket, monkeypatch) == bucket.names


def test_a_listing_of_few_pages_is_not_cut(monkeypatch):
    bucket = FolderListing((f"ep{number:06d}" for number in range(40)), 5, by_name=False)
    assert len(listed(bucket, monkeypatch, pages_before_split=8)) == 40
    assert bucket.requests == 8
    longer = FolderListing((f"ep{number:06d}" for number in range(400)), 5, by_name=False)
    assert len(listed(longer, monkeypatch, pages_before_split=8)) == 400
    assert longer.requests > 80, "80 pages and the requests that found the boundaries"
    assert fetch_threads() == []


def test_ranges_and_the_search_for_their_boundaries_share_connections(monkeypatch):
    monkeypatch.setattr(listing, "_PAGES_BEFORE_SPLIT", 1)
    bucket = FolderListing((f"ep{number:06d}" for number in range(400)), 5, by_name=False)
    with ObjectsServer({}, bucket.respond) as server:
        assert len(episode_ids(server.bucket(), "processed/", "en", QUICK)) == 400
    assert server.connections <= 8 and bucket.requests > 80


def boundaries_of(names: Iterable[str], page: int, end: str | None = None) -> tuple[list[str], int]:
    """The boundaries behind the first `page` names, and how many requests they took."""
    known, requests = sorted(names), 0

    def first(text: str) -> str | None:
        nonlocal requests
        requests += 1
        place = bisect.bisect_right(known, text)
        return known[place] if place < len(known) else None

    return find_boundaries(first, known[0], known[page - 1], end), requests


def test_numbers_that_count_up_are_cut_at_the_first_digit_that_differs():
    boundaries, requests = boundaries_of((f"ep{number:09d}" for number in range(100_000)), 1000)
    assert boundaries == [f"ep{number:09d}" for number in range(10_000, 100_000, 10_000)]
    assert requests < 25


def test_random_names_are_cut_by_their_first_letter():
    boundaries, requests = boundaries_of((f"{number * 2654435761 % 2**32:08x}" for number in range(20_000)), 1000)
    assert [boundary[0] for boundary in boundaries] == list("123456789abcdef")
    assert requests < 25


def test_one_name_far_away_does_not_end_the_search():
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


def test_a_server_that_heeds_no_start_gives_no_boundaries():
    assert find_boundaries(lambda text: "ep000", "ep000", "ep009") == []


def test_the_sandbox_lists_in_ranges_what_it_lists_in_a_row(world: World, monkeypatch):
    s3 = world.sandbox.s3
    names = [*(f"ep{number:04d}" for number in range(0, 300, 3)), "a", "a b", "a+b", "b%41", "é", "zz", "日本"]
    for name in names:
        world.store().put(f"{BELOW}{name}/all_segments.json", b"[]")
    store = RealBucket(BucketSettings(s3.endpoint_url, s3.access_key, s3.secret_key, world.bucket))

    def small(*arguments: Any, max_keys: int = 5, **where: Any) -> Any:
        return pages.list_pages(*arguments, max_keys=max_keys, **where)

    monkeypatch.setattr(listing, "list_pages", small)
    monkeypatch.setattr(listing, "_PAGES_BEFORE_SPLIT", 2)
    found = episode_ids(store, "processed/", "en", QUICK)
    assert found == sorted(names)


@pytest.mark.parametrize("listing", [BY_KEY, BY_NAME], ids=["by key", "by name"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_pages_in_either_order_are_a_listing(listing: list[str], size: int) -> None:
    order = Order()
    pages = [order.follow(listing[place : place + size]) for place in range(0, 5, size)]
    assert [prefix for page in pages for prefix in page or ()] == listing
    assert order.follow([]) == []


def test_a_prefix_is_left_out_where_it_equals_the_one_before() -> None:
    order = Order("p/a/")
    assert order.follow(["p/a/", "p/b/", "p/b/"]) == ["p/b/"]
    assert order.follow(["p/b/"]) == []
    assert order.follow(["p/b/", "p/c/", "p/c/", "p/c/"]) == ["p/c/"]


@pytest.mark.parametrize("listing", [BY_KEY, BY_NAME], ids=["by key", "by name"])
def test_what_goes_backwards_is_no_listing_and_counts_as_not_seen(listing: list[str]) -> None:
    for page in (["p/b/", "p/a0/"], ["p/c/", "p/a/"]):
        order = Order()
        assert order.follow(listing) == listing
        assert order.follow(page) is None
        assert order.follow(["p/c/"]) == ["p/c/"]


def test_a_listing_keeps_to_one_order() -> None:
    """Else the last two prefixes of a page could come again as the first two of the next one."""
    order = Order()
    assert order.follow(["p/a!/", "p/a-x/", "p/a/"]) is not None
    assert order.follow(["p/a-x/", "p/a/", "p/b/"]) is None


def test_the_end_of_a_range_is_where_both_orders_have_it() -> None:
    assert [prefix for prefix in BY_KEY if is_past(prefix, "p/a/")] == ["p/a/", "p/a0/", "p/b/"]
    assert not is_past("p/a-x/", "p/a/") and is_past("p/a-x/", "p/a-x/") and not is_past("p/a/", "p/a-x/")
