"""A scan: what is new goes into new chunks, and nothing that was planned ever moves."""

from datetime import UTC, datetime, timedelta

import obstore
import pytest

from r2_hf_assets.errors import PlanError, RetriesExhausted
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.plan.scan import ScanReport, ScanRules, scan
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets_tests.support import store_gets
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PREFIX, Flaky, put_folders, use_obstore
from r2_hf_assets_tests.support.store_gets import MemoryBucket

EVERY = frozenset(LANGUAGES)
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(hours=24)


def look(bucket, plan, size: int = 3, *, languages=EVERY, hold_back=None, now: datetime = START) -> ScanReport:
    rules = ScanRules(frozenset(languages), size, hold_back)
    return scan(bucket, plan, rules, now=lambda: now)


def members(plan: PlanStore, language: str = "en") -> list[tuple[str, ...]]:
    return [chunk.episodes for chunk in plan.read_many((language, n) for n in plan.numbers().get(language, []))]


def manifests(plan: PlanStore) -> dict[str, bytes]:
    paths = [item["path"] for batch in obstore.list(plan.store, "plan") for item in batch]
    return {path: bytes(obstore.get(plan.store, path).bytes()) for path in paths if "/chunk_" in path}


def test_a_first_scan_plans_everything_in_listing_order(bucket, plan):
    put_folders(bucket, "en/e", "en/a", "en/c", "en/d", "en/b", "de/x")
    report = look(bucket, plan)
    assert members(plan) == [("en/a", "en/b", "en/c"), ("en/d", "en/e")]
    assert members(plan, "de") == [("de/x",)]
    assert report.seen == report.newly_planned == {"en": 5, "de": 1}
    assert [c.name for c in report.new_chunks] == [("de", 0), ("en", 0), ("en", 1)]
    assert report.planned == plan.planned() and len(report.planned) == 3
    assert (report.folders, +report.already_planned, +report.waiting) == ({"en": 5, "de": 1}, {}, {})


def test_an_empty_bucket_gives_an_empty_plan(bucket, plan):
    report = look(bucket, plan)
    assert (report.planned, report.new_chunks, report.languages_line) == ([], [], "LANGUAGES=")


def test_a_scan_that_finds_nothing_new_changes_nothing(bucket, plan):
    put_folders(bucket, "en/a", "en/b", "en/c", "en/d")
    look(bucket, plan)
    before = manifests(plan)
    report = look(bucket, plan)
    assert manifests(plan) == before
    assert (report.new_chunks, +report.newly_planned, report.already_planned) == ([], {}, {"en": 4})


def test_five_scans_with_new_episodes_in_between_never_change_what_was_planned(bucket, plan):
    known: dict[str, bytes] = {}
    listed: set[str] = set()
    for round_ in range(5):
        # Before, between and behind those that are planned; and the last chunk is part-filled every time.
        new = {f"en/{letter}{round_}" for letter in "amz"} | {f"en-US/{round_}", f"de/{9 - round_}"}
        put_folders(bucket, *new)
        listed |= new
        report = look(bucket, plan, 3)
        found = manifests(plan)
        assert known.items() <= found.items()
        assert len(found) == len(known) + 3 and report.newly_planned == {"en": 4, "de": 1}
        known = found
    planned = [episode for language in ("de", "en") for chunk in members(plan, language) for episode in chunk]
    assert sorted(planned) == sorted(listed)


def test_another_chunk_size_holds_for_new_chunks_only(bucket, plan):
    put_folders(bucket, *(f"en/{n:02d}" for n in range(10)))
    look(bucket, plan, 4)
    before = manifests(plan)
    put_folders(bucket, *(f"en/{n:02d}" for n in range(10, 16)))
    look(bucket, plan, 2)
    look(bucket, plan, 100)
    assert [len(chunk) for chunk in members(plan)] == [4, 4, 2, 2, 2, 2]
    assert before.items() <= manifests(plan).items()


def test_an_episode_that_left_the_bucket_stays_planned(bucket, plan):
    put_folders(bucket, "en/a", "en/b")
    look(bucket, plan)
    obstore.delete(bucket, f"{PREFIX}en/a/all_segments.json")
    put_folders(bucket, "en/c")
    assert look(bucket, plan).newly_planned == {"en": 1}
    assert members(plan) == [("en/a", "en/b"), ("en/c",)]


def test_dirty_folders_are_one_language_folder_by_folder(bucket, plan):
    put_folders(bucket, "en/a", "en_gb/b", "ENG/c", "en-US/d", "en-ZH/e", "deu/f", "in/g", "id/h")
    report = look(bucket, plan, 10)
    assert members(plan) == [("ENG/c", "en/a", "en-US/d", "en-ZH/e", "en_gb/b")]
    assert members(plan, "id") == [("id/h", "in/g")]
    assert members(plan, "de") == [("deu/f",)]
    assert report.languages_line == "LANGUAGES=de,en,id" and report.unknown_folders == []


def test_the_same_episode_id_in_two_folders_of_a_language_is_two_episodes(bucket, plan):
    put_folders(bucket, "en/same", "en-US/same")
    look(bucket, plan, 10)
    assert members(plan) == [("en/same", "en-US/same")]
    assert look(bucket, plan, 10).new_chunks == []


def test_unknown_folders_are_planned_as_unknown_and_named(bucket, plan):
    put_folders(bucket, "123/a", "junk/b", "unknown/c", "tlh/d", "en/e")
    report = look(bucket, plan, 10)
    assert members(plan, "unknown") == [("123/a", "junk/b", "tlh/d", "unknown/c")]
    assert report.unknown_folders == ["123", "junk", "tlh"]
    assert report.languages_line == "LANGUAGES=en,unknown"


def test_a_language_filter_plans_those_and_names_the_rest(bucket, plan):
    put_folders(bucket, "en/a", "de/b", "deu/c", "junk/d")
    report = look(bucket, plan, languages={"en"})
    assert plan.numbers() == {"en": [0]}
    assert set(report.folders_left_out) == {"de", "unknown"} and report.seen == {"en": 1}
    assert report.languages_line == "LANGUAGES=de,en,unknown"
    later = look(bucket, plan, languages={"de"})
    assert later.newly_planned == {"de": 2} and plan.numbers() == {"en": [0], "de": [0]}


def test_a_language_left_out_is_not_listed(bucket, plan, monkeypatch):
    put_folders(bucket, "en/a", "de/b")
    counting = Flaky(obstore.list_with_delimiter, times=0)
    use_obstore(monkeypatch, store_gets, list_with_delimiter=counting)
    look(bucket, plan, languages={"en"})
    assert set(counting.calls) == {PREFIX, f"{PREFIX}en/"}


def test_the_languages_line_keeps_what_is_planned_but_gone(bucket, plan):
    put_folders(bucket, "de/b")
    look(bucket, plan)
    assert look(MemoryBucket(), plan).languages_line == "LANGUAGES=de"


def test_a_remainder_waits_until_it_fills_or_its_time_is_up(bucket, plan):
    put_folders(bucket, *(f"en/{n}" for n in range(5)))
    first = look(bucket, plan, 3, hold_back=DAY)
    assert (members(plan), first.waiting, first.newly_planned) == ([("en/0", "en/1", "en/2")], {"en": 2}, {"en": 3})
    assert look(bucket, plan, 3, hold_back=DAY, now=START + DAY - timedelta(seconds=1)).waiting == {"en": 2}
    put_folders(bucket, "en/5")
    filled = look(bucket, plan, 3, hold_back=DAY, now=START + DAY - timedelta(seconds=1))
    assert (filled.newly_planned, +filled.waiting) == ({"en": 3}, {})
    put_folders(bucket, "en/6")
    again = look(bucket, plan, 3, hold_back=DAY, now=START + 2 * DAY)
    assert again.waiting == {"en": 1}, "a new remainder has a clock of its own"
    done = look(bucket, plan, 3, hold_back=DAY, now=START + 3 * DAY)
    assert (done.newly_planned, +done.waiting) == ({"en": 1}, {})
    assert [len(chunk) for chunk in members(plan)] == [3, 3, 1]


def test_a_note_of_a_clock_that_was_ahead_holds_nothing_for_longer(bucket, plan):
    put_folders(bucket, "en/a")
    look(bucket, plan, hold_back=DAY, now=START + 1000 * DAY)
    assert look(bucket, plan, hold_back=DAY).waiting == {"en": 1}
    assert look(bucket, plan, hold_back=DAY, now=START + DAY).newly_planned == {"en": 1}


def test_each_language_waits_by_its_own_clock(bucket, plan):
    put_folders(bucket, "en/a")
    look(bucket, plan, hold_back=DAY)
    put_folders(bucket, "de/b")
    report = look(bucket, plan, hold_back=DAY, now=START + DAY)
    assert (report.newly_planned, report.waiting) == ({"en": 1}, {"de": 1})


def test_a_manual_scan_plans_what_waits(bucket, plan):
    put_folders(bucket, "en/a")
    assert look(bucket, plan, hold_back=DAY).new_chunks == []
    assert look(bucket, plan).newly_planned == {"en": 1}
    assert plan.waiting_since("en") is None


def test_no_hold_back_time_means_at_once(bucket, plan):
    put_folders(bucket, "en/a")
    assert look(bucket, plan, hold_back=timedelta(0)).newly_planned == {"en": 1}


def test_waiting_is_not_already_planned(bucket, plan):
    put_folders(bucket, "en/a", "en/b", "en/c", "en/d")
    look(bucket, plan, 3, hold_back=DAY)
    report = look(bucket, plan, 3, hold_back=DAY)
    assert (report.seen, report.already_planned, report.waiting) == ({"en": 4}, {"en": 3}, {"en": 1})


def test_the_plan_of_another_bucket_is_refused_before_anything_is_written(bucket, plan):
    put_folders(bucket, "en/a")
    look(bucket, plan)
    put_folders(bucket, "en/b")
    before = manifests(plan)
    with pytest.raises(PlanError):
        look(bucket, PlanStore(plan.store, "other", PREFIX, NO_WAIT))
    assert manifests(plan) == before


def test_a_gap_in_the_plan_stops_the_scan(bucket, plan):
    put_folders(bucket, *(f"en/{n}" for n in range(6)))
    look(bucket, plan, 2)
    obstore.delete(plan.store, "plan/en/chunk_0001.json")
    with pytest.raises(PlanError, match="chunk_0001"):
        look(bucket, plan, 2)


def test_a_listing_that_fails_plans_nothing_short(bucket, plan, monkeypatch):
    put_folders(bucket, "en/a", "de/b")
    use_obstore(monkeypatch, store_gets, list_with_delimiter=Flaky(obstore.list_with_delimiter, 99, match="en/"))
    with pytest.raises(RetriesExhausted):
        look(bucket, plan)
    assert "en" not in plan.numbers()


def test_what_is_left_when_a_waiting_remainder_filled_waits_no_longer_than_it(bucket, plan):
    put_folders(bucket, "en/0", "en/z")
    look(bucket, plan, 3, hold_back=DAY)
    put_folders(bucket, "en/1", "en/2")
    filled = look(bucket, plan, 3, hold_back=DAY, now=START + DAY - timedelta(seconds=1))
    assert (filled.newly_planned, filled.waiting) == ({"en": 3}, {"en": 1}), "en/z was there from the beginning"
    done = look(bucket, plan, 3, hold_back=DAY, now=START + DAY)
    assert (done.newly_planned, +done.waiting, plan.waiting_since("en")) == ({"en": 1}, {}, None)


def test_a_chunk_that_is_sealed_when_the_time_is_up_takes_the_remainder_with_it(bucket, plan):
    put_folders(bucket, "en/z")
    look(bucket, plan, 3, hold_back=DAY)
    put_folders(bucket, *(f"en/{n}" for n in range(3)))
    report = look(bucket, plan, 3, hold_back=DAY, now=START + DAY)
    assert [chunk.episodes for chunk in report.new_chunks] == [("en/0", "en/1", "en/2"), ("en/z",)]
