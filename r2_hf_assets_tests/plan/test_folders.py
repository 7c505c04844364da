"""A folder's language is decided once; a rule that differs later is reported and not applied."""

import json
from collections import Counter

import obstore
import pytest

from r2_hf_assets.bucket import listing
from r2_hf_assets.errors import PlanError
from r2_hf_assets.languages import LANGUAGES, normalize
from r2_hf_assets.plan.check import check_plan
from r2_hf_assets.plan.folders import decided_languages
from r2_hf_assets.plan.scan import ScanReport, ScanRules, scan
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets_tests.support.build_samples import chunk_of, put_folders


@pytest.fixture
def rule(monkeypatch):
    """Overrides `normalize` for some folders."""

    def override(**languages: str) -> None:
        monkeypatch.setattr(listing, "normalize", lambda name: languages.get(name) or normalize(name))

    return override


def run_scan(bucket, plan: PlanStore, languages=LANGUAGES, size: int = 2) -> ScanReport:
    return scan(bucket, plan, ScanRules(frozenset(languages), size))


def planned(plan: PlanStore) -> Counter[tuple[str, str]]:
    chunks = plan.read_many(chunk.name for chunk in plan.planned())
    return Counter((chunk.language, episode) for chunk in chunks for episode in chunk.episodes)


def test_a_changed_rule_plans_nothing_twice_and_is_reported(bucket, plan, rule):
    put_folders(bucket, "xyz/a", "xyz/b", "xyz/c", "en/d")
    rule(xyz="unknown")
    assert run_scan(bucket, plan).changed_rules == {}
    put_folders(bucket, "xyz/e")
    rule(xyz="yue", en="fr")
    report = run_scan(bucket, plan)
    assert report.newly_planned == {"unknown": 1} and report.unknown_folders == ["xyz"]
    assert report.changed_rules == {"en": ("en", "fr"), "xyz": ("unknown", "yue")}
    assert planned(plan) == Counter([("en", "en/d"), *(("unknown", f"xyz/{name}") for name in "abce")])
    assert check_plan(plan).numbers["unknown_folders"] == 1


def test_a_decision_is_kept_when_only_the_other_language_is_scanned(bucket, plan, rule):
    put_folders(bucket, "xyz/a")
    run_scan(bucket, plan)
    rule(xyz="yue")
    report = run_scan(bucket, plan, {"yue"})
    assert (+report.newly_planned, dict(report.folders_left_out)) == ({}, {"unknown": 1})


def test_folders_of_a_plan_without_decisions_keep_the_language_of_their_episodes(bucket, plan, rule):
    put_folders(bucket, "xyz/a", "xyz/b", "en/c", "tlh/d")
    plan.check_identity()
    plan.create(chunk_of("xyz/a", "tlh/d", language="unknown", number=0))
    plan.create(chunk_of("en/c", language="en", number=0))
    rule(xyz="yue", tlh="de")
    report = run_scan(bucket, plan, {"yue", "en"})
    assert +report.newly_planned == {} and "tlh" in report.changed_rules
    assert decided_languages(plan) == {"xyz": "unknown", "tlh": "unknown", "en": "en"}
    assert run_scan(bucket, plan).newly_planned == {"unknown": 1}


def test_a_folder_planned_in_two_languages_keeps_the_one_with_all_episodes(bucket, plan, rule):
    put_folders(bucket, "xyz/a", "xyz/b")
    plan.check_identity()
    plan.create(chunk_of("xyz/a", language="unknown", number=0))
    plan.create(chunk_of("xyz/a", "xyz/b", language="yue", number=0))
    rule(xyz="unknown")
    assert run_scan(bucket, plan).new_chunks == [] and decided_languages(plan) == {"xyz": "yue"}


def test_folders_planned_by_a_later_import_keep_their_language(bucket, plan, rule):
    put_folders(bucket, "en/a")
    run_scan(bucket, plan)
    plan.create(chunk_of("xyz/a", language="unknown", number=0))
    put_folders(bucket, "xyz/a", "xyz/b")
    rule(xyz="yue")
    assert run_scan(bucket, plan).newly_planned == {"unknown": 1}


def test_an_excluded_folder_is_decided_when_it_is_first_planned(bucket, plan, rule):
    put_folders(bucket, "en/a", "xyz/b")
    run_scan(bucket, plan, {"en"})
    assert decided_languages(plan) == {"en": "en"}
    rule(xyz="yue")
    assert run_scan(bucket, plan).newly_planned == {"yue": 1}
    assert decided_languages(plan) == {"en": "en", "xyz": "yue"}
    assert decided_languages(plan) == {
        folder: language
        for number in (0, 1)
        for folder, language in json.loads(
            bytes(obstore.get(plan.store, f"plan/folders_{number:04d}.json").bytes())
        ).items()
    }


@pytest.mark.parametrize("at", [0, 1])
def test_of_two_concurrent_scans_the_first_decision_is_valid(bucket, plan, rule, monkeypatch, at):
    """The other scan runs right before this one stores its first decision, or its first chunk."""
    put_folders(bucket, "xyz/a", "xyz/b", "xyz/c", "zz/d")
    name = ("add_folders", "create")[at]
    real = getattr(PlanStore, name)

    def other_scan_first(*arguments):
        monkeypatch.setattr(PlanStore, name, real)
        rule(xyz="unknown", zz="zu")
        run_scan(bucket, plan)
        return real(*arguments)

    rule(xyz="yue", zz="zu")
    monkeypatch.setattr(PlanStore, name, other_scan_first)
    run_scan(bucket, plan)
    language = ("unknown", "yue")[at]
    assert planned(plan) == Counter([*((language, f"xyz/{name}") for name in "abc"), ("zu", "zz/d")])


def test_a_decision_is_stored_before_its_first_chunk(bucket, plan, monkeypatch):
    put_folders(bucket, "en/a")
    decided = []

    def fail(store, chunk):
        decided.append(decided_languages(store))
        raise PlanError("no chunk")

    monkeypatch.setattr(PlanStore, "create", fail)
    with pytest.raises(PlanError, match="no chunk"):
        run_scan(bucket, plan)
    assert decided == [{"en": "en"}]


@pytest.mark.parametrize("data", [b"", b"[]", b'{"en": 7}', b'{"en": "klingon"}'])
def test_a_damaged_decision_is_an_error_and_nothing_is_planned(bucket, plan, data):
    put_folders(bucket, "en/a")
    obstore.put(plan.store, "plan/folders_0000.json", data)
    with pytest.raises(PlanError, match=r"folders_0000\.json is damaged, .*restore it from a backup"):
        run_scan(bucket, plan)
    assert plan.numbers() == {}
    assert check_plan(plan).numbers["problems_by_kind"] == {"plan_damaged": 1}


def test_the_check_reports_a_folder_planned_against_its_decision(bucket, plan):
    put_folders(bucket, "en/a")
    run_scan(bucket, plan)
    plan.create(chunk_of("en/b", language="de", number=0))
    assert check_plan(plan).numbers["problems_by_kind"] == {"folder_in_two_languages": 1, "folder_not_as_decided": 1}
