"""decide and append: the script's chunks become ours, once, and nothing that contradicts is taken over."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore

from r2_hf_assets.bucket.client import Store
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.plan.scan import ScanRules, scan
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.plan.verify import check_plan
from r2_hf_assets.reconcile.adopt import Adoption, append, bucket_folders, decide
from r2_hf_assets.reconcile.script import ScriptError, ScriptPlan
from r2_hf_assets_tests.build_samples import NO_WAIT, PREFIX, put_folders


@pytest.fixture
def plan(tmp_path: Path) -> PlanStore:
    return PlanStore(LocalStore(tmp_path / "state", mkdir=True), "podcasts", PREFIX, NO_WAIT)


@pytest.fixture
def bucket() -> Store:
    store = MemoryStore()
    put_folders(store, "en/a", "en/b", "en-US/c", "en-US/a2", "en/twice", "en_gb/twice", "fra/f", "de/d", "en/new")
    return store


def adopt(
    plan: PlanStore, bucket: Store, script: ScriptPlan, *finished: tuple[str, int], languages: Sequence[str] = LANGUAGES
) -> Adoption:
    return decide(script, finished, plan, languages, bucket_folders(bucket, PREFIX, NO_WAIT))


def members(chunks: Sequence[Chunk]) -> list[tuple[str, int, tuple[str, ...]]]:
    return [(chunk.language, chunk.number, chunk.episodes) for chunk in chunks]


SCRIPT: ScriptPlan = {"en": [("en/a", "en/b"), ("en-US/c",)], "de": [("de/d",)]}


def test_members_order_and_numbers_are_kept(plan: PlanStore, bucket: Store) -> None:
    found = adopt(plan, bucket, SCRIPT, ("en", 0), ("de", 0))
    expected = [("de", 0, ("de/d",)), ("en", 0, ("en/a", "en/b")), ("en", 1, ("en-US/c",))]
    assert members(found.chunks) == members(found.new) == expected
    assert members(found.finished) == [expected[0], expected[1]]
    assert plan.planned() == []
    append(plan, found.new)
    assert [(p.language, p.number) for p in plan.planned()] == [("de", 0), ("en", 0), ("en", 1)]
    assert check_plan(plan).passed


def test_a_second_import_has_nothing_to_do_and_a_longer_one_goes_on(plan: PlanStore, bucket: Store) -> None:
    append(plan, adopt(plan, bucket, SCRIPT).new)
    assert adopt(plan, bucket, SCRIPT).new == ()
    longer = {**SCRIPT, "en": [*SCRIPT["en"], ("en/new",)]}
    assert members(adopt(plan, bucket, longer).new) == [("en", 2, ("en/new",))]
    scan(bucket, plan, ScanRules(frozenset({"en"}), 10), retry=NO_WAIT)  # plans en/new and others as chunk 2
    assert adopt(plan, bucket, SCRIPT).new == ()
    with pytest.raises(ScriptError, match="en chunk 2 is planned with other episodes"):
        adopt(plan, bucket, longer)


def test_a_scan_afterwards_plans_only_what_is_new(plan: PlanStore, bucket: Store) -> None:
    append(plan, adopt(plan, bucket, SCRIPT).new)
    report = scan(bucket, plan, ScanRules(frozenset({"en", "de"}), 10), retry=NO_WAIT)
    (new,) = report.new_chunks
    assert (new.language, new.number) == ("en", 2)
    assert sorted(new.episodes) == ["en-US/a2", "en/new", "en/twice", "en_gb/twice"]
    assert report.already_planned["en"] == 3


@pytest.mark.parametrize("written", ["c", "c/", "en-US/c", "en-US/c/", "processed/en-US/c", "/processed/en-US/c/"])
def test_writings_of_an_episode(plan: PlanStore, bucket: Store, written: str) -> None:
    assert members(adopt(plan, bucket, {"en": [(written,)]}).chunks) == [("en", 0, ("en-US/c",))]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({"en": [("nobody",)]}, "'nobody' of en is in no folder"),
        ({"en": [("twice",)]}, "'twice' of en is in 2 folders (en, en_gb)"),
        ({"en": [("other/en/a",)]}, "does not lie below 'processed/'"),
        ({"en": [("de/d",)]}, "is of en to the script, but its folder is de"),
        ({"en": [("en/a",), ("a",)]}, "episode en/a twice: en chunk 0 and en chunk 1"),
        ({"en": [("en/a", "en/a/")]}, "episode en/a twice: en chunk 0 and en chunk 0"),
    ],
)
def test_contradictions_are_refused(plan: PlanStore, bucket: Store, script: ScriptPlan, said: str) -> None:
    with pytest.raises(ScriptError) as error:
        adopt(plan, bucket, script)
    assert said in str(error.value)


def test_two_names_of_one_language_follow_each_other(plan: PlanStore, bucket: Store) -> None:
    script: ScriptPlan = {"fra": [("fra/f",), ("fra/g",)], "fr": [("fr/h",)]}
    found = adopt(plan, bucket, script, ("fra", 0), ("fra", 1), ("fr", 0))
    assert members(found.chunks) == [("fr", 0, ("fr/h",)), ("fr", 1, ("fra/f",)), ("fr", 2, ("fra/g",))]
    assert members(found.finished) == [("fr", 0, ("fr/h",))]
    assert found.elsewhere == {"fra": 2}


def test_languages_outside_the_grid_are_left_out(plan: PlanStore, bucket: Store) -> None:
    found = adopt(plan, bucket, SCRIPT, languages=["en", "unknown"])
    assert {chunk.language for chunk in found.chunks} == {"en"}
    assert found.left_out == {"de": 1}


def test_another_planner_in_between_is_noticed(plan: PlanStore, bucket: Store) -> None:
    found = adopt(plan, bucket, SCRIPT)
    scan(bucket, plan, ScanRules(frozenset({"de", "en"}), 1), retry=NO_WAIT)
    with pytest.raises(ScriptError, match="planned by somebody else meanwhile"):
        append(plan, found.new)
