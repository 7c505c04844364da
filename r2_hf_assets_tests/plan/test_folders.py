"""A folder's language is decided once, with the plan; a rule that differs later is reported and not applied."""

import json
from collections import Counter

import obstore
import pytest

from r2_hf_assets.bucket import listing
from r2_hf_assets.errors import PlanError
from r2_hf_assets.languages import LANGUAGES, normalize
from r2_hf_assets.plan.folders import decided_languages
from r2_hf_assets.plan.scan import ScanReport, ScanRules, scan
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.plan.verify import check_plan
from r2_hf_assets_tests.support.build_samples import chunk_of, put_folders

EVERY = frozenset(LANGUAGES)


@pytest.fixture
def rule(monkeypatch):
    """Sets what the rule says of some folders; of all others it says what it always says."""

    def says(**languages: str) -> None:
        monkeypatch.setattr(listing, "normalize", lambda name: languages.get(name) or normalize(name))

    return says


def look(bucket, plan: PlanStore, languages=EVERY, size: int = 2) -> ScanReport:
    return scan(bucket, plan, ScanRules(frozenset(languages), size))


def planned(plan: PlanStore) -> Counter[tuple[str, str]]:
    names = [(language, number) for language, numbers in plan.numbers().items() for number in numbers]
    return Counter((chunk.language, episode) for chunk in plan.read_many(names) for episode in chunk.episodes)


def test_a_rule_that_changes_plans_nothing_twice_and_is_reported(bucket, plan, rule):
    put_folders(bucket, "xyz/a", "xyz/b", "xyz/c", "en/d")
    rule(xyz="unknown")
    assert look(bucket, plan).changed_rules == {}
    put_folders(bucket, "xyz/e")
    rule(xyz="yue", en="fr")
    report = look(bucket, plan)
    assert report.newly_planned == {"unknown": 1} and report.unknown_folders == ["xyz"]
    assert report.changed_rules == {"en": ("en", "fr"), "xyz": ("unknown", "yue")}
    assert planned(plan) == Counter([("en", "en/d"), *(("unknown", f"xyz/{name}") for name in "abce")])
    assert check_plan(plan).numbers["unknown_folders"] == 1


def test_a_decision_holds_when_only_the_rules_language_is_scanned(bucket, plan, rule):
    put_folders(bucket, "xyz/a")
    look(bucket, plan)
    rule(xyz="yue")
    report = look(bucket, plan, {"yue"})
    assert (+report.newly_planned, dict(report.folders_left_out)) == ({}, {"unknown": 1})


def test_folders_of_a_plan_without_decisions_keep_the_language_of_their_episodes(bucket, plan, rule):
    put_folders(bucket, "xyz/a", "xyz/b", "en/c", "tlh/d")
    plan.check_identity()
    plan.create(chunk_of("xyz/a", "tlh/d", language="unknown", number=0))
    plan.create(chunk_of("en/c", language="en", number=0))
    rule(xyz="yue", tlh="de")
    report = look(bucket, plan, {"yue", "en"})
    assert +report.newly_planned == {} and "tlh" in report.changed_rules
    assert decided_languages(plan) == {"xyz": "unknown", "tlh": "unknown", "en": "en"}
    assert look(bucket, plan).newly_planned == {"unknown": 1}


def test_a_folder_that_is_planned_twice_already_stays_where_all_its_episodes_are(bucket, plan, rule):
    put_folders(bucket, "xyz/a", "xyz/b")
    plan.check_identity()
    plan.create(chunk_of("xyz/a", language="unknown", number=0))
    plan.create(chunk_of("xyz/a", "xyz/b", language="yue", number=0))
    rule(xyz="unknown")
    assert look(bucket, plan).new_chunks == [] and decided_languages(plan) == {"xyz": "yue"}


def test_folders_that_an_import_planned_later_keep_their_language(bucket, plan, rule):
    put_folders(bucket, "en/a")
    look(bucket, plan)
    plan.create(chunk_of("xyz/a", language="unknown", number=0))
    put_folders(bucket, "xyz/a", "xyz/b")
    rule(xyz="yue")
    assert look(bucket, plan).newly_planned == {"unknown": 1}


def test_a_folder_that_is_left_out_is_decided_when_it_is_first_planned(bucket, plan, rule):
    put_folders(bucket, "en/a", "xyz/b")
    look(bucket, plan, {"en"})
    assert decided_languages(plan) == {"en": "en"}
    rule(xyz="yue")
    assert look(bucket, plan).newly_planned == {"yue": 1}
    assert decided_languages(plan) == {"en": "en", "xyz": "yue"}
    assert decided_languages(plan) == {
        folder: language
        for number in (0, 1)
        for folder, language in json.loads(
            bytes(obstore.get(plan.store, f"plan/folders_{number:04d}.json").bytes())
        ).items()
    }


@pytest.mark.parametrize("at", [0, 1])
def test_of_two_scans_with_different_rules_the_first_decision_holds(bucket, plan, rule, monkeypatch, at):
    """The other scan runs as a whole right before the first decision, or the first chunk, of this one is stored."""
    put_folders(bucket, "xyz/a", "xyz/b", "xyz/c", "zz/d")
    name = ("add_folders", "create")[at]
    real = getattr(PlanStore, name)

    def other_scan_first(*arguments):
        monkeypatch.setattr(PlanStore, name, real)
        rule(xyz="unknown", zz="zu")
        look(bucket, plan)
        return real(*arguments)

    rule(xyz="yue", zz="zu")
    monkeypatch.setattr(PlanStore, name, other_scan_first)
    look(bucket, plan)
    language = ("unknown", "yue")[at]
    assert planned(plan) == Counter([*((language, f"xyz/{name}") for name in "abc"), ("zu", "zz/d")])


def test_a_decision_is_stored_before_a_chunk_that_follows_it(bucket, plan, monkeypatch):
    put_folders(bucket, "en/a")
    seen = []

    def dies(store, chunk):
        seen.append(decided_languages(store))
        raise PlanError("stopped here")

    monkeypatch.setattr(PlanStore, "create", dies)
    with pytest.raises(PlanError, match="stopped here"):
        look(bucket, plan)
    assert seen == [{"en": "en"}]


@pytest.mark.parametrize("data", [b"", b"[]", b'{"en": 7}', b'{"en": "klingon"}'])
def test_a_damaged_decision_is_one_line_and_nothing_is_planned(bucket, plan, data):
    put_folders(bucket, "en/a")
    obstore.put(plan.store, "plan/folders_0000.json", data)
    with pytest.raises(PlanError, match=r"folders_0000\.json is damaged, .*restore it from a backup"):
        look(bucket, plan)
    assert plan.numbers() == {}
    assert check_plan(plan).numbers["problems_by_kind"] == {"plan_damaged": 1}


def test_the_check_finds_a_folder_planned_against_its_decision(bucket, plan):
    put_folders(bucket, "en/a")
    look(bucket, plan)
    plan.create(chunk_of("en/b", language="de", number=0))
    assert check_plan(plan).numbers["problems_by_kind"] == {"folder_in_two_languages": 1, "folder_not_as_decided": 1}
