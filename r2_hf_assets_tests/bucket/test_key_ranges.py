"""A long listing in ranges is the listing: no name lost, none twice, in order, on servers of either dialect."""

import bisect
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r2_hf_assets.bucket import listing, pages
from r2_hf_assets.bucket.client import object_store
from r2_hf_assets.bucket.key_ranges import find_boundaries
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import BucketSettings
from r2_hf_assets_tests.bucket.folders import BELOW, LETTERS, NAMES, Bucket, episode_ids
from r2_hf_assets_tests.build_samples import fetch_threads
from r2_hf_assets_tests.objects_server import ObjectsServer
from r2_hf_assets_tests.world import World

QUICK = Retry(attempts=2, base=0.001)


def listed(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, pages_before_split: int = 1) -> list[str]:
    monkeypatch.setattr(listing, "_PAGES_BEFORE_SPLIT", pages_before_split)
    monkeypatch.setattr(listing, "_LONGER", 1)
    with ObjectsServer({}, bucket.answer) as server:
        return episode_ids(server.store(), "processed/", "en", QUICK)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(names=NAMES, size=st.integers(1, 7), by_name=st.booleans(), repeats=st.booleans())
def test_every_name_once_and_in_order(names, size, by_name, repeats):
    with pytest.MonkeyPatch.context() as patch:
        bucket = Bucket(names, size, by_name=by_name, repeats=repeats)
        assert listed(bucket, patch) == bucket.names


def test_a_name_that_another_begins_with_is_not_lost_at_a_cut(monkeypatch):
    """`b` is where the second range begins, and what begins with it lies on one side of it or the other."""
    names = [*(f"a{number}" for number in range(9)), "b", "b-1", "b-2", "c"]
    for by_name in (False, True):
        bucket = Bucket(names, 2, by_name=by_name)
        assert listed(bucket, monkeypatch) == bucket.names


def test_a_listing_of_few_pages_is_not_cut(monkeypatch):
    bucket = Bucket((f"ep{number:06d}" for number in range(40)), 5, by_name=False)
    assert len(listed(bucket, monkeypatch, pages_before_split=8)) == 40
    assert bucket.asked == 8
    longer = Bucket((f"ep{number:06d}" for number in range(400)), 5, by_name=False)
    assert len(listed(longer, monkeypatch, pages_before_split=8)) == 400
    assert longer.asked > 80, "80 pages and the questions that found the cuts"
    assert fetch_threads() == []


def cuts_of(names: Iterable[str], page: int, end: str | None = None) -> tuple[list[str], int]:
    """The cuts behind the first `page` names, and how many questions they took."""
    known, questions = sorted(names), 0

    def first(text: str) -> str | None:
        nonlocal questions
        questions += 1
        place = bisect.bisect_right(known, text)
        return known[place] if place < len(known) else None

    return find_boundaries(first, known[0], known[page - 1], end), questions


def test_numbers_that_count_up_are_cut_at_the_first_digit_that_differs():
    cuts, questions = cuts_of((f"ep{number:09d}" for number in range(100_000)), 1000)
    assert cuts == [f"ep{number:09d}" for number in range(10_000, 100_000, 10_000)]
    assert questions < 25


def test_random_names_are_cut_by_their_first_letter():
    cuts, questions = cuts_of((f"{number * 2654435761 % 2**32:08x}" for number in range(20_000)), 1000)
    assert [cut[0] for cut in cuts] == list("123456789abcdef")
    assert questions < 25


def test_one_name_far_away_does_not_end_the_search():
    cuts, _ = cuts_of([*(f"ep{number:06d}" for number in range(5000)), "zz"], 100)
    assert cuts[-1] == "zz" and len(cuts) >= 8


@given(names=st.sets(st.text(LETTERS, max_size=5), min_size=2, max_size=80), data=st.data())
@settings(deadline=None, derandomize=True)
def test_cuts_are_names_behind_the_page_and_before_the_end(names, data):
    known = sorted(names)
    page = data.draw(st.integers(1, len(known) - 1))
    end = data.draw(st.one_of(st.none(), st.sampled_from(known[page:])))
    cuts, questions = cuts_of(known, page, end)
    assert cuts == sorted(set(cuts) & set(known[page:]))
    assert end is None or all(cut < end for cut in cuts)
    assert questions < 100


def test_a_server_that_heeds_no_start_gives_no_cuts():
    assert find_boundaries(lambda text: "ep000", "ep000", "ep009") == []


def test_the_sandbox_lists_in_ranges_what_it_lists_in_a_row(world: World, monkeypatch):
    s3, pages_of = world.sandbox.s3, pages.pages
    names = [*(f"ep{number:04d}" for number in range(0, 300, 3)), "a", "a b", "a+b", "b%41", "é", "zz", "日本"]
    for name in names:
        world.store().put(f"{BELOW}{name}/all_segments.json", b"[]")
    store = object_store(BucketSettings(s3.endpoint_url, s3.access_key, s3.secret_key, world.bucket))

    def small(*arguments: Any, most: int = 5, **where: Any) -> Any:
        return pages_of(*arguments, most=most, **where)

    monkeypatch.setattr(listing, "pages", small)
    monkeypatch.setattr(listing, "_PAGES_BEFORE_SPLIT", 2)
    found = episode_ids(store, "processed/", "en", QUICK)
    assert found == sorted(names)
