"""Listing page by page: the same names as the whole listing, each once, from any page on."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r2_hf_assets.bucket import listing
from r2_hf_assets.bucket.listing import list_episode_pages
from r2_hf_assets.bucket.pages import list_pages
from r2_hf_assets_tests.bucket.folders import NAMES, FolderListing, episode_ids
from r2_hf_assets_tests.support.build_samples import NO_WAIT
from r2_hf_assets_tests.support.objects_server import ObjectsServer
from r2_hf_assets_tests.support.world import World

# Neighbours of "/" in the order, prefixes of other names, and names that need an encoding.
AWKWARD = ["ep1", "ep1-x", "ep1.y", "ep10", "ep12", "a b", "a+b", "a%20b", "é", "日本", "z\u007fz", "q=1&r"]


def listed(store: Any, after: str = "") -> list[tuple[list[str], str | None]]:
    return list(list_episode_pages(store, "processed/", "en", after, NO_WAIT))


def check_from_every_page(store: Any, whole: list[str]) -> int:
    """Check the listing from every page on; return the number of pages."""
    pages = listed(store)
    assert [name for ids, _ in pages for name in ids] == whole
    assert [end is None for _, end in pages] == [False] * (len(pages) - 1) + [True]
    for count, (_, end) in enumerate(pages[:-1], 1):
        assert end is not None
        left = [name for ids, _ in listed(store, end) for name in ids]
        assert left == [name for ids, _ in pages[count:] for name in ids]
    return len(pages)


def test_a_real_server_lists_the_same_names_from_any_page_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    store, client = world.reader(), world.sandbox.s3.client()  # obstore can't write all of these keys
    keys = [f"en/{name}/all_segments.json" for name in AWKWARD]
    for key in [*keys, "en/ep11.txt", "de/ep1/all_segments.json"]:
        client.put_object(Bucket=world.bucket, Key=f"processed/{key}", Body=b"[]")
    whole = episode_ids(store, "processed/", "en", NO_WAIT)
    assert len(whole) == len(AWKWARD) - 1, "one of them is unreadable"
    assert check_from_every_page(store, whole) == 1
    monkeypatch.setattr(listing, "list_pages", lambda *where, **more: list_pages(*where, **more, max_keys=2))
    assert check_from_every_page(store, whole) >= 6


@settings(max_examples=20, deadline=None, derandomize=True)
@given(names=NAMES, size=st.integers(2, 40), by_name=st.booleans(), repeats=st.booleans())
def test_every_name_is_listed_once_in_either_order_from_any_page_on(names, size, by_name, repeats):
    bucket = FolderListing(names, size, by_name=by_name, repeats=repeats)
    with ObjectsServer({}, bucket.respond) as server:
        check_from_every_page(server.bucket(), bucket.names)


def test_at_most_one_page_is_prefetched() -> None:
    bucket = FolderListing((f"ep{number:03d}" for number in range(100)), 10, by_name=False)
    with ObjectsServer({}, bucket.respond) as server:
        pages = list_episode_pages(server.bucket(), "processed/", "en", "", NO_WAIT)
        assert next(pages) == ([f"ep{number:03d}" for number in range(10)], "ep009/")
        pages.close()
    assert bucket.requests <= 2
