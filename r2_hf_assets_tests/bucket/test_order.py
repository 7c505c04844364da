"""The order of a listing: no name lost, none twice, listed by key or by name, and nothing that goes backwards."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r2_hf_assets.bucket import listing, pages
from r2_hf_assets.bucket.pages import Order
from r2_hf_assets.retry import Retry
from r2_hf_assets_tests.bucket.folders import BELOW, NAMES, Bucket, episode_ids
from r2_hf_assets_tests.objects_server import ObjectsServer
from r2_hf_assets_tests.world import World

QUICK = Retry(attempts=2, base=0.001)
BY_KEY = ["p/a b/", "p/a-x/", "p/a/", "p/a0/", "p/b/"]
BY_NAME = ["p/a/", "p/a b/", "p/a-x/", "p/a0/", "p/b/"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(names=NAMES, size=st.integers(1, 7), by_name=st.booleans(), repeats=st.booleans())
def test_every_name_once_and_in_order(names, size, by_name, repeats):
    bucket = Bucket(names, size, by_name=by_name, repeats=repeats)
    with ObjectsServer({}, bucket.answer) as server:
        assert episode_ids(server.bucket(), "processed/", "en", QUICK) == bucket.names


def test_the_sandbox_lists_every_name_once(world: World, monkeypatch):
    pages_of = pages.pages
    names = [*(f"ep{number:04d}" for number in range(0, 300, 3)), "a", "a b", "a+b", "b%41", "é", "zz", "日本"]
    for name in names:
        world.store().put(f"{BELOW}{name}/all_segments.json", b"[]")

    def small(*arguments: Any, most: int = 5, **where: Any) -> Any:
        return pages_of(*arguments, most=most, **where)

    monkeypatch.setattr(listing, "pages", small)
    assert episode_ids(world.reader(), "processed/", "en", QUICK) == sorted(names)


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
