"""Order: a listing by key or by name, each prefix once, and what goes backwards is none."""

import pytest

from r2_hf_assets.bucket.key_ranges import Order, is_past

BY_KEY = ["p/a b/", "p/a-x/", "p/a/", "p/a0/", "p/b/"]
BY_NAME = ["p/a/", "p/a b/", "p/a-x/", "p/a0/", "p/b/"]


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
