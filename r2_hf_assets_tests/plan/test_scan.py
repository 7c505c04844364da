"""A scan: new episodes are appended in new chunks, and planned episodes never move."""

from datetime import UTC, datetime, timedelta

import obstore
import pytest

from r2_hf_assets.errors import PlanError, RetriesExhausted
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.plan.amendments import REMOVE, Target
from r2_hf_assets.plan.scan import ScanReport, ScanRules, scan
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets_tests.support import store_gets
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PREFIX, Flaky, chunk_of, put_folders, use_obstore
from r2_hf_assets_tests.support.store_gets import MemoryBucket

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(hours=24)


def run_scan(bucket, plan, size: int = 3, *, languages=LANGUAGES, hold_back=None, now: datetime = START) -> ScanReport:
    rules = ScanRules(frozenset(languages), size, hold_back)
    return scan(bucket, plan, rules, now=lambda: now)


def members(plan: PlanStore, language: str = "en") -> list[tuple[str, ...]]:
    return [chunk.episodes for chunk in plan.read_many((language, n) for n in plan.numbers().get(language, []))]


def manifests(plan: PlanStore) -> dict[str, bytes]:
    paths = [item["path"] for batch in obstore.list(plan.store, "plan") for item in batch]
    return {path: bytes(obstore.get(plan.store, path).bytes()) for path in paths if "/chunk_" in path}


def test_a_first_scan_plans_all_episodes_in_listing_order(bucket, plan):
    put_folders(bucket, "en/e", "en/a", "en/c", "en/d", "en/b", "de/x")
    report = run_scan(bucket, plan)
    assert members(plan) == [("en/a", "en/b", "en/c"), ("en/d", "en/e")]
    assert members(plan, "de") == [("de/x",)]
    assert report.seen == report.newly_planned == {"en": 5, "de": 1}
    assert [c.name for c in report.new_chunks] == [("de", 0), ("en", 0), ("en", 1)]
    assert report.planned == plan.planned() and len(report.planned) == 3
    assert (report.folders, +report.already_planned, +report.waiting) == ({"en": 5, "de": 1}, {}, {})


def test_removed_episodes_are_not_planned(bucket, plan):
    plan.check_identity()
    plan.amend(REMOVE, [Target("en/b"), Target("en/c", segment=1)], "takedown", START)
    put_folders(bucket, "en/a", "en/b", "en/c", "en/d")
    report = run_scan(bucket, plan)
    assert members(plan) == [("en/a", "en/c", "en/d")]
    assert (+report.removed, report.newly_planned, +report.already_planned) == ({"en": 1}, {"en": 3}, {})
    again = run_scan(bucket, plan)
    assert (+again.removed, +again.newly_planned, again.already_planned) == ({"en": 1}, {}, {"en": 3})


def test_a_scan_after_unused_numbers_continues_behind_the_last_one(bucket, plan):
    put_folders(bucket, "en/a")
    plan.check_identity()
    assert plan.create(chunk_of("en/x", number=3))
    with pytest.raises(PlanError, match=r"chunk_0000\.json is missing"):
        run_scan(bucket, plan)
    plan.leave_out({"en": [0, 1]})
    with pytest.raises(PlanError, match=r"chunk_0002\.json is missing"):
        run_scan(bucket, plan)
    plan.leave_out({"en": [0, 1, 2]})
    run_scan(bucket, plan)
    assert plan.numbers() == {"en": [3, 4]}
    assert members(plan) == [("en/x",), ("en/a",)]


def test_an_empty_bucket_gives_an_empty_plan(bucket, plan):
    report = run_scan(bucket, plan)
    assert (report.planned, report.new_chunks, report.languages_line) == ([], [], "LANGUAGES=")


def test_a_scan_without_new_episodes_changes_nothing(bucket, plan):
    put_folders(bucket, "en/a", "en/b", "en/c", "en/d")
    run_scan(bucket, plan)
    before = manifests(plan)
    report = run_scan(bucket, plan)
    assert manifests(plan) == before
    assert (report.new_chunks, +report.newly_planned, report.already_planned) == ([], {}, {"en": 4})


def test_repeated_scans_with_new_episodes_never_change_planned_chunks(bucket, plan):
    before: dict[str, bytes] = {}
    listed: set[str] = set()
    for round_ in range(5):
        # New names sort before, between and behind planned ones; each time the last chunk is part-filled.
        new = {f"en/{letter}{round_}" for letter in "amz"} | {f"en-US/{round_}", f"de/{9 - round_}"}
        put_folders(bucket, *new)
        listed |= new
        report = run_scan(bucket, plan, 3)
        after = manifests(plan)
        assert before.items() <= after.items()
        assert len(after) == len(before) + 3 and report.newly_planned == {"en": 4, "de": 1}
        before = after
    planned = [episode for language in ("de", "en") for chunk in members(plan, language) for episode in chunk]
    assert sorted(planned) == sorted(listed)


def test_a_changed_chunk_size_applies_to_new_chunks_only(bucket, plan):
    put_folders(bucket, *(f"en/{n:02d}" for n in range(10)))
    run_scan(bucket, plan, 4)
    before = manifests(plan)
    put_folders(bucket, *(f"en/{n:02d}" for n in range(10, 16)))
    run_scan(bucket, plan, 2)
    run_scan(bucket, plan, 100)
    assert [len(chunk) for chunk in members(plan)] == [4, 4, 2, 2, 2, 2]
    assert before.items() <= manifests(plan).items()


def test_an_episode_deleted_from_the_bucket_stays_planned(bucket, plan):
    put_folders(bucket, "en/a", "en/b")
    run_scan(bucket, plan)
    obstore.delete(bucket, f"{PREFIX}en/a/all_segments.json")
    put_folders(bucket, "en/c")
    assert run_scan(bucket, plan).newly_planned == {"en": 1}
    assert members(plan) == [("en/a", "en/b"), ("en/c",)]


def test_variants_of_a_language_code_are_planned_as_one_language(bucket, plan):
    put_folders(bucket, "en/a", "en_gb/b", "ENG/c", "en-US/d", "en-ZH/e", "deu/f", "in/g", "id/h")
    report = run_scan(bucket, plan, 10)
    assert members(plan) == [("ENG/c", "en/a", "en-US/d", "en-ZH/e", "en_gb/b")]
    assert members(plan, "id") == [("id/h", "in/g")]
    assert members(plan, "de") == [("deu/f",)]
    assert report.languages_line == "LANGUAGES=de,en,id" and report.unknown_folders == []


def test_an_episode_id_in_two_folders_is_two_episodes(bucket, plan):
    put_folders(bucket, "en/same", "en-US/same")
    run_scan(bucket, plan, 10)
    assert members(plan) == [("en/same", "en-US/same")]
    assert run_scan(bucket, plan, 10).new_chunks == []


def test_unknown_folders_are_planned_as_unknown_and_reported(bucket, plan):
    put_folders(bucket, "123/a", "junk/b", "unknown/c", "tlh/d", "en/e")
    report = run_scan(bucket, plan, 10)
    assert members(plan, "unknown") == [("123/a", "junk/b", "tlh/d", "unknown/c")]
    assert report.unknown_folders == ["123", "junk", "tlh"]
    assert report.languages_line == "LANGUAGES=en,unknown"


def test_a_language_filter_reports_the_excluded_languages(bucket, plan):
    put_folders(bucket, "en/a", "de/b", "deu/c", "junk/d")
    report = run_scan(bucket, plan, languages={"en"})
    assert plan.numbers() == {"en": [0]}
    assert set(report.folders_left_out) == {"de", "unknown"} and report.seen == {"en": 1}
    assert report.languages_line == "LANGUAGES=de,en,unknown"
    later = run_scan(bucket, plan, languages={"de"})
    assert later.newly_planned == {"de": 2} and plan.numbers() == {"en": [0], "de": [0]}


def test_an_excluded_language_is_not_listed(bucket, plan, monkeypatch):
    put_folders(bucket, "en/a", "de/b")
    counting = Flaky(obstore.list_with_delimiter, times=0)
    use_obstore(monkeypatch, store_gets, list_with_delimiter=counting)
    run_scan(bucket, plan, languages={"en"})
    assert set(counting.calls) == {PREFIX, f"{PREFIX}en/"}


def test_the_languages_line_keeps_planned_languages_that_left_the_bucket(bucket, plan):
    put_folders(bucket, "de/b")
    run_scan(bucket, plan)
    assert run_scan(MemoryBucket(), plan).languages_line == "LANGUAGES=de"


def test_a_remainder_waits_until_a_chunk_fills_or_the_wait_ends(bucket, plan):
    put_folders(bucket, *(f"en/{n}" for n in range(5)))
    first = run_scan(bucket, plan, 3, hold_back=DAY)
    assert (members(plan), first.waiting, first.newly_planned) == ([("en/0", "en/1", "en/2")], {"en": 2}, {"en": 3})
    assert run_scan(bucket, plan, 3, hold_back=DAY, now=START + DAY - timedelta(seconds=1)).waiting == {"en": 2}
    put_folders(bucket, "en/5")
    filled = run_scan(bucket, plan, 3, hold_back=DAY, now=START + DAY - timedelta(seconds=1))
    assert (filled.newly_planned, +filled.waiting) == ({"en": 3}, {})
    put_folders(bucket, "en/6")
    again = run_scan(bucket, plan, 3, hold_back=DAY, now=START + 2 * DAY)
    assert again.waiting == {"en": 1}, "a new remainder starts a new wait"
    done = run_scan(bucket, plan, 3, hold_back=DAY, now=START + 3 * DAY)
    assert (done.newly_planned, +done.waiting) == ({"en": 1}, {})
    assert [len(chunk) for chunk in members(plan)] == [3, 3, 1]


def test_a_wait_recorded_by_a_clock_that_was_ahead_starts_again(bucket, plan):
    put_folders(bucket, "en/a")
    run_scan(bucket, plan, hold_back=DAY, now=START + 1000 * DAY)
    assert run_scan(bucket, plan, hold_back=DAY).waiting == {"en": 1}
    assert run_scan(bucket, plan, hold_back=DAY, now=START + DAY).newly_planned == {"en": 1}


def test_each_language_has_its_own_wait(bucket, plan):
    put_folders(bucket, "en/a")
    run_scan(bucket, plan, hold_back=DAY)
    put_folders(bucket, "de/b")
    report = run_scan(bucket, plan, hold_back=DAY, now=START + DAY)
    assert (report.newly_planned, report.waiting) == ({"en": 1}, {"de": 1})


def test_a_manual_scan_plans_a_waiting_remainder(bucket, plan):
    put_folders(bucket, "en/a")
    assert run_scan(bucket, plan, hold_back=DAY).new_chunks == []
    assert run_scan(bucket, plan).newly_planned == {"en": 1}
    assert plan.waiting_since("en") is None


def test_a_hold_back_of_zero_plans_at_once(bucket, plan):
    put_folders(bucket, "en/a")
    assert run_scan(bucket, plan, hold_back=timedelta(0)).newly_planned == {"en": 1}


def test_waiting_episodes_are_not_counted_as_planned(bucket, plan):
    put_folders(bucket, "en/a", "en/b", "en/c", "en/d")
    run_scan(bucket, plan, 3, hold_back=DAY)
    report = run_scan(bucket, plan, 3, hold_back=DAY)
    assert (report.seen, report.already_planned, report.waiting) == ({"en": 4}, {"en": 3}, {"en": 1})


def test_the_plan_of_another_bucket_is_rejected_and_not_changed(bucket, plan):
    put_folders(bucket, "en/a")
    run_scan(bucket, plan)
    put_folders(bucket, "en/b")
    before = manifests(plan)
    with pytest.raises(PlanError):
        run_scan(bucket, PlanStore(plan.store, "other", PREFIX, NO_WAIT))
    assert manifests(plan) == before


def test_a_gap_in_the_plan_stops_the_scan(bucket, plan):
    put_folders(bucket, *(f"en/{n}" for n in range(6)))
    run_scan(bucket, plan, 2)
    obstore.delete(plan.store, "plan/en/chunk_0001.json")
    with pytest.raises(PlanError, match="chunk_0001"):
        run_scan(bucket, plan, 2)


def test_a_failed_listing_plans_no_partial_language(bucket, plan, monkeypatch):
    put_folders(bucket, "en/a", "de/b")
    use_obstore(monkeypatch, store_gets, list_with_delimiter=Flaky(obstore.list_with_delimiter, 99, match="en/"))
    with pytest.raises(RetriesExhausted):
        run_scan(bucket, plan)
    assert "en" not in plan.numbers()


def test_sealing_a_chunk_does_not_restart_the_wait(bucket, plan):
    put_folders(bucket, "en/0", "en/z")
    run_scan(bucket, plan, 3, hold_back=DAY)
    put_folders(bucket, "en/1", "en/2")
    filled = run_scan(bucket, plan, 3, hold_back=DAY, now=START + DAY - timedelta(seconds=1))
    assert (filled.newly_planned, filled.waiting) == ({"en": 3}, {"en": 1}), "en/z has waited since the first scan"
    done = run_scan(bucket, plan, 3, hold_back=DAY, now=START + DAY)
    assert (done.newly_planned, +done.waiting, plan.waiting_since("en")) == ({"en": 1}, {}, None)


def test_after_the_wait_the_remainder_is_sealed_with_the_full_chunks(bucket, plan):
    put_folders(bucket, "en/z")
    run_scan(bucket, plan, 3, hold_back=DAY)
    put_folders(bucket, *(f"en/{n}" for n in range(3)))
    report = run_scan(bucket, plan, 3, hold_back=DAY, now=START + DAY)
    assert [chunk.episodes for chunk in report.new_chunks] == [("en/0", "en/1", "en/2"), ("en/z",)]
