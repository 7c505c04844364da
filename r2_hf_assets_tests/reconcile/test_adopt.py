"""decide, locate and append: the script's chunks and files become ours, once; what contradicts is not taken over."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore

from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.inventory import Inventory
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.plan.scan import ScanRules, scan
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.plan.verify import check_plan
from r2_hf_assets.reconcile.adopt import Adoption, Taken, append, decide, locate
from r2_hf_assets.reconcile.script import ScriptError, ScriptPlan
from r2_hf_assets_tests.build_samples import NO_WAIT, PREFIX, put_folders


@pytest.fixture
def plan(tmp_path: Path) -> PlanStore:
    return PlanStore(LocalStore(tmp_path / "state", mkdir=True), "podcasts", PREFIX, NO_WAIT)


def script(**chunks: list[tuple[str, ...]]) -> ScriptPlan:
    """Episodes are given as <folder>/<id>."""
    return {
        language: [tuple(f"{PREFIX}{one}/" for one in chunk) for chunk in listed] for language, listed in chunks.items()
    }


def adopt(
    plan: PlanStore, script: ScriptPlan, *finished: tuple[str, int], languages: Sequence[str] = LANGUAGES
) -> Adoption:
    return decide(script, finished, plan, languages)


def members(chunks: Iterable[Chunk]) -> list[tuple[str, int, tuple[str, ...]]]:
    return [(chunk.language, chunk.number, chunk.episodes) for chunk in chunks]


def origins(chunks: Iterable[Taken]) -> list[tuple[str, int, str, int, bool]]:
    return [(c.chunk.language, c.chunk.number, c.folder, c.number, c.finished) for c in chunks]


SCRIPT = script(en=[("en/a", "en/b"), ("en-US/c",)], de=[("deu/d",)])


def test_members_order_and_numbers_are_kept(plan: PlanStore) -> None:
    found = adopt(plan, SCRIPT, ("en", 0), ("de", 0))
    expected = [("de", 0, ("deu/d",)), ("en", 0, ("en/a", "en/b")), ("en", 1, ("en-US/c",))]
    assert members(item.chunk for item in found.chunks) == members(found.new) == expected
    assert [item.finished for item in found.chunks] == [True, True, False]
    assert plan.planned() == []
    append(plan, found.new)
    assert [(p.language, p.number) for p in plan.planned()] == [("de", 0), ("en", 0), ("en", 1)]
    assert check_plan(plan).passed


def test_a_second_import_has_nothing_to_do_and_a_longer_one_goes_on(plan: PlanStore) -> None:
    bucket = MemoryStore()
    put_folders(bucket, "en/a", "en/b", "en-US/c", "en/new", "en/newer", "de/d")
    append(plan, adopt(plan, SCRIPT).new)
    assert adopt(plan, SCRIPT).new == ()
    longer = {**SCRIPT, **script(en=[("en/a", "en/b"), ("en-US/c",), ("en/new",)])}
    assert members(adopt(plan, longer).new) == [("en", 2, ("en/new",))]
    report = scan(bucket, plan, ScanRules(frozenset({"en"}), 10), retry=NO_WAIT)
    assert members(report.new_chunks) == [("en", 2, ("en/new", "en/newer"))]
    assert adopt(plan, SCRIPT).new == ()
    with pytest.raises(ScriptError, match="en chunk 2 is planned with other episodes"):
        adopt(plan, longer)


@pytest.mark.parametrize(
    "written",
    ["a", "en/a/", "processed/a/", "processed/en/a", "processed//a/", "processed/en//", "processed/en/a/b/", ""],
)
def test_an_episode_is_a_whole_prefix(plan: PlanStore, written: str) -> None:
    with pytest.raises(ScriptError, match=r"is no episode's prefix below 'processed/'"):
        adopt(plan, {"en": [(written,)]})


def test_an_episode_that_is_there_twice_is_refused(plan: PlanStore) -> None:
    with pytest.raises(ScriptError, match="episode en/a twice: en chunk 0 and en chunk 1"):
        decide(script(en=[("en/a",), ("en/a",)]), [], plan, LANGUAGES)


def test_a_folder_is_of_the_language_that_the_script_says_unless_it_is_decided_otherwise(plan: PlanStore) -> None:
    (taken,) = decide(script(zh=[("zh-yue/a",)]), [], plan, LANGUAGES).chunks
    assert (taken.chunk.language, taken.chunk.episodes) == ("zh", ("zh-yue/a",))
    plan.add_folders(0, {"zh-yue": "yue"})
    with pytest.raises(ScriptError, match="is of zh to the script, but its folder is planned as yue"):
        decide(script(zh=[("zh-yue/a",)]), [], plan, LANGUAGES)


SEVERAL = script(fra=[("fra/f",), ("fra/g",)], fr=[("fr/h",)], iw=[("iw/i",)]) | {"123": [("processed/123/j/",)]}


def test_two_names_of_one_language_follow_each_other(plan: PlanStore) -> None:
    found = adopt(plan, SEVERAL, ("fra", 0), ("fr", 0))
    assert origins(found.chunks) == [
        ("fr", 0, "fr", 0, True),
        ("fr", 1, "fra", 0, True),
        ("fr", 2, "fra", 1, False),
        ("he", 0, "iw", 0, False),
        ("unknown", 0, "123", 0, False),
    ]


def on_hub(*paths: str) -> Inventory:
    return Inventory("head", {path: RemoteFile(path, 1, path) for path in paths})


def test_files_are_found_under_the_scripts_name_or_ours(plan: PlanStore) -> None:
    found = adopt(plan, SEVERAL)
    there = [
        "data/fr/chunk-00000.parquet",
        "data/fra/chunk-00000-part-00.parquet",
        "data/fra/chunk-00000-part-01.parquet",
    ]
    renamed = ["data/fr/chunk-00002.parquet"]
    others = [
        "data/fra/chunk-00007.parquet",
        "data/fra/chunk-00001.txt",
        "data/iw/sub/chunk-00000.parquet",
        "data/fr/x",
    ]
    located = {item.name: item for item in locate(found.chunks, on_hub(*there, *renamed, *others))}
    assert {name: len(item.files) for name, item in located.items()} == {
        ("fr", 0): 1,
        ("fr", 1): 2,
        ("fr", 2): 1,
        ("he", 0): 0,
        ("unknown", 0): 0,
    }
    assert [item.renames for item in located.values() if item.renames] == [
        [
            ("data/fra/chunk-00000-part-00.parquet", "data/fr/chunk-00001-part-00.parquet"),
            ("data/fra/chunk-00000-part-01.parquet", "data/fr/chunk-00001-part-01.parquet"),
        ]
    ]


def test_files_under_both_names_are_refused(plan: PlanStore) -> None:
    both = on_hub("data/fra/chunk-00001-part-00.parquet", "data/fr/chunk-00002.parquet")
    with pytest.raises(ScriptError, match=r"data/fra/chunk-00001-part-00\S+ and data/fr/chunk-00002\S+ are both fr"):
        locate(adopt(plan, SEVERAL).chunks, both)


def test_languages_outside_the_grid_are_left_out(plan: PlanStore) -> None:
    found = adopt(plan, SCRIPT, languages=["en", "unknown"])
    assert {item.chunk.language for item in found.chunks} == {"en"}
    assert found.left_out == {"de": 1}


def test_another_planner_in_between_is_noticed(plan: PlanStore) -> None:
    bucket = MemoryStore()
    put_folders(bucket, "en/a", "en/b")
    found = adopt(plan, SCRIPT)
    scan(bucket, plan, ScanRules(frozenset({"en"}), 1), retry=NO_WAIT)
    with pytest.raises(ScriptError, match="planned by somebody else meanwhile"):
        append(plan, found.new)
