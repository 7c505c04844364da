"""A sweep in pieces finds what is new, and the outlook says when that is worth a scan."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from obstore.store import LocalStore

from r2_hf_assets.bucket.listing import LanguageFolder
from r2_hf_assets.languages import normalize
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.plan.known import Known
from r2_hf_assets.plan.news import Sweep, look, outlook
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets_tests.build_samples import NO_WAIT, PREFIX

DAY = timedelta(hours=24)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
PAGE = 3


@pytest.fixture
def known(tmp_path: Path) -> Known:
    """en/00 to en/09 and de/a are planned."""
    plan = PlanStore(LocalStore(tmp_path / "state", mkdir=True), "podcasts", PREFIX, NO_WAIT)
    plan.create(Chunk("en", 0, PREFIX, tuple(f"en/{n:02d}" for n in range(10))))
    plan.create(Chunk("de", 0, PREFIX, ("de/a",)))
    made = Known()
    assert made.learn(plan, {"en": 1, "de": 1}, lambda: True)
    return made


class Bucket(dict[str, list[str]]):
    """Folders and their episodes; counts the pages that were read."""

    read = 0

    def folders(self) -> list[LanguageFolder]:
        return [LanguageFolder(name, normalize(name)) for name in reversed(self)]

    def pages(self, folder: str, after: str) -> Iterator[tuple[list[str], str | None]]:
        left = [name for name in sorted(self[folder]) if f"{name}/" > after]
        for start in range(0, max(1, len(left)), PAGE):
            self.read += 1
            page = left[start : start + PAGE]
            yield page, f"{page[-1]}/" if start + PAGE < len(left) else None


def pieces(pages: int) -> Callable[[], bool]:
    """Time for so many pages."""
    left = iter([True] * (pages - 1))
    return lambda: next(left, False)


def through(bucket: Bucket, known: Known, pages: int) -> tuple[Sweep, int]:
    """A sweep in pieces of so many pages; and how many it took."""
    sweep, count = Sweep({"en": 1, "de": 1}), 0
    while not sweep.done:
        sweep, count = look(sweep, bucket.folders(), bucket.pages, known, pieces(pages)), count + 1
        assert count < 100
    return sweep, count


@pytest.mark.parametrize("pages", [1, 2, 3, 100])
def test_pieces_find_what_one_look_finds(known: Known, pages: int) -> None:
    bucket = Bucket({"en": [f"{n:02d}" for n in range(13)], "de": ["a", "b"], "en-US": ["00"], "fr": [], "zz": ["q"]})
    sweep, count = through(bucket, known, pages)
    assert sweep.seen == {"en": 14, "de": 2, "fr": 0, "unknown": 1}
    assert sweep.new == {"en": 4, "de": 1, "unknown": 1}, "en-US/00 is another episode than en/00"
    assert bucket.read == 9 and (count > 1) == (pages < 9)


def test_a_piece_that_ends_in_a_folder_goes_on_behind_its_last_episode(known: Known) -> None:
    bucket = Bucket({"en": [f"{n:02d}" for n in range(13)]})
    first = look(Sweep({}), bucket.folders(), bucket.pages, known, pieces(2))
    assert (first.folder, first.after, first.done, first.seen) == ("en", "05/", False, {"en": 6})
    bucket["en"] += ["03x", "99"]  # one behind the sweep's back, one before it
    second = look(first, bucket.folders(), bucket.pages, known, pieces(100))
    assert second.done and second.new == {"en": 4}
    assert look(Sweep({}), bucket.folders(), bucket.pages, known, pieces(100)).new == {"en": 5}


def test_a_folder_that_vanished_in_the_middle_is_passed_over(known: Known) -> None:
    bucket = Bucket({"de": ["b"], "en": [f"{n:02d}" for n in range(13)], "fr": ["a"]})
    sweep = look(Sweep({}), bucket.folders(), bucket.pages, known, pieces(3))
    assert sweep.folder == "en"
    del bucket["en"]
    sweep = look(sweep, bucket.folders(), bucket.pages, known, pieces(100))
    assert sweep.done and sweep.new == {"de": 1, "fr": 1}


def test_an_episode_that_vanished_is_not_counted_by_the_next_sweep(known: Known) -> None:
    bucket = Bucket({"en": ["new", "00"]})
    assert through(bucket, known, 1)[0].new == {"en": 1}
    bucket["en"] = ["00"]  # and 01 to 09 are planned and gone, which changes nothing
    assert through(bucket, known, 1)[0].new == {}


def judged(new: dict[str, int], waiting: dict[str, datetime | None] | None = None, waited=(), hold_back=DAY):
    return outlook(new, waiting or {}, waited, 10, hold_back, NOW)


def test_a_full_chunk_is_ready_at_once() -> None:
    found = judged({"en": 10, "de": 25, "fr": 9})
    assert (dict(found.ready), dict(found.waiting)) == ({"de": 25, "en": 10}, {"fr": NOW})


def test_a_remainder_begins_to_wait_goes_on_and_is_ready_in_the_end() -> None:
    assert judged({"en": 3}).begins == ("en",)
    soon = judged({"en": 3}, {"en": NOW - DAY + timedelta(seconds=1)})
    assert (soon.begins, dict(soon.ready), list(soon.waiting)) == ((), {}, ["en"])
    assert dict(judged({"en": 3}, {"en": NOW - DAY}).ready) == {"en": 3}


def test_a_note_of_a_clock_that_was_ahead_is_made_anew() -> None:
    found = judged({"en": 3}, {"en": NOW + 1000 * DAY})
    assert (found.begins, dict(found.waiting)) == (("en",), {"en": NOW})


def test_no_hold_back_means_at_once() -> None:
    assert dict(judged({"en": 1}, hold_back=timedelta(0)).ready) == {"en": 1}


def test_what_waited_and_is_gone_is_over() -> None:
    found = judged({"en": 2}, {"en": NOW}, waited=("de", "en"))
    assert found.over == ("de",) and list(found.waiting) == ["en"]


def test_nothing_new_is_nothing() -> None:
    found = judged({})
    assert (found.ready, found.waiting, found.begins, found.over) == ({}, {}, (), ())
