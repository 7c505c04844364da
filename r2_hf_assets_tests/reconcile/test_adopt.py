"""The script's plan and log are read in one form only, and its chunks are adopted once."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from obstore.store import LocalStore

from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.reads import Inventory
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.plan.check import check_plan
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.plan.scan import ScanRules, scan
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.reconcile.adopt import Adopted, WorkPlan, adopt_chunks, append_chunks, read_progress, read_work_plan
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PREFIX, chunk_of, put_folders
from r2_hf_assets_tests.support.store_gets import MemoryBucket


def test_the_work_plan_lists_episodes_by_language() -> None:
    written = {"de": [f"{PREFIX}deu/b/", f"{PREFIX}de/a/"], "fra": []}
    assert read_work_plan(json.dumps(written, indent=2).encode(), PREFIX) == {"de": ["deu/b", "de/a"], "fra": []}


@pytest.mark.parametrize("written", [b"{", b"\xff", b"[" * 100_000, b"[]", b'{"de": {"0": []}}'])
def test_a_work_plan_of_another_form_is_rejected(written: bytes) -> None:
    with pytest.raises(R2HfError, match=r'^the work plan is no JSON of the form \{"de": \["processed/de/.*$'):
        read_work_plan(written, PREFIX)


@pytest.mark.parametrize(
    "written",
    ["a", "en/a/", "processed/a/", "processed/en/a", "processed//a/", "processed/en//", "processed/en/a/b/", "", ["a"]],
)
def test_an_incomplete_episode_prefix_is_rejected(written: object) -> None:
    with pytest.raises(R2HfError, match=r"is no episode's prefix below 'processed/'; check PROCESSED_PREFIX$"):
        read_work_plan(json.dumps({"en": [written]}).encode(), PREFIX)


def test_a_duplicate_episode_is_rejected() -> None:
    with pytest.raises(R2HfError, match="the work plan has 'processed/en/a/' twice"):
        read_work_plan(b'{"en": ["processed/en/a/"], "eng": ["processed/en/a/"]}', PREFIX)


PLANNED: WorkPlan = {name: ["x/a"] * 15 for name in ("de", "123")}


def test_the_progress_log_names_finished_chunks() -> None:
    assert read_progress("de-1\nde-0\r\n123-7\nde-1\n", PLANNED, 2) == {("de", 1), ("de", 0), ("123", 7)}
    assert read_progress("", PLANNED, 2) == set()


@pytest.mark.parametrize("line", ["de 7", "de-7 done", "7", "de", "de-", "de-x", "de--", "de-٧", "-0", ""])
def test_a_log_line_of_another_form_is_reported(line: str) -> None:
    with pytest.raises(R2HfError, match=r"^progress log, line 2: .* is not <language>-<number>, as de-0; remove it$"):
        read_progress(f"de-0\n{line}\n", PLANNED, 2)


@pytest.mark.parametrize("line", ["fr-0", "de-8"])
def test_a_finished_chunk_outside_the_work_plan_is_rejected(line: str) -> None:
    with pytest.raises(R2HfError, match=rf"line 1: '{line}' is not in the work plan; .* give --episodes-per-chunk N$"):
        read_progress(line, PLANNED, 2)


@pytest.fixture
def plan(tmp_path: Path) -> PlanStore:
    return PlanStore(LocalStore(tmp_path / "state", mkdir=True), "podcasts", PREFIX, NO_WAIT)


NO_FILES = Inventory("head")


def adopt(
    plan: PlanStore,
    script: WorkPlan,
    *finished: tuple[str, int],
    languages: Sequence[str] = LANGUAGES,
    hub: Inventory = NO_FILES,
) -> list[Adopted]:
    """Adopt in chunks of two."""
    return adopt_chunks(script, finished, 2, plan, languages, hub)


def new(adopted: Iterable[Adopted]) -> list[ChunkManifest]:
    return [item.chunk for item in adopted if not item.planned]


def members(chunks: Iterable[ChunkManifest]) -> list[tuple[str, int, tuple[str, ...]]]:
    return [(chunk.language, chunk.number, chunk.episodes) for chunk in chunks]


SCRIPT = {"en": ["en/a", "en/b", "en-US/c"], "de": ["deu/d"]}


def test_adopted_chunks_keep_members_order_and_numbers(plan: PlanStore) -> None:
    adopted = adopt(plan, SCRIPT, ("en", 0), ("de", 0))
    assert members(new(adopted)) == [("de", 0, ("deu/d",)), ("en", 0, ("en/a", "en/b")), ("en", 1, ("en-US/c",))]
    assert [item.finished for item in adopted] == [True, True, False]
    assert plan.planned() == []
    append_chunks(plan, new(adopted))
    assert [chunk.name for chunk in plan.planned()] == [("de", 0), ("en", 0), ("en", 1)]
    assert check_plan(plan).passed


def test_an_import_is_idempotent_and_completes_an_interrupted_one(plan: PlanStore) -> None:
    bucket = MemoryBucket()
    put_folders(bucket, "en/a", "en/b", "en-US/c", "en/new", "de/d")
    append_chunks(plan, new(adopt(plan, SCRIPT))[:2])
    assert members(new(adopt(plan, SCRIPT))) == [("en", 1, ("en-US/c",))]
    append_chunks(plan, new(adopt(plan, SCRIPT)))
    report = scan(bucket, plan, ScanRules(frozenset({"en"}), 10))
    assert members(report.new_chunks) == [("en", 2, ("en/new",))]
    assert new(adopt(plan, SCRIPT)) == []
    with pytest.raises(R2HfError, match="en chunk 1 is planned with other episodes than the script's"):
        adopt(plan, {"en": [*SCRIPT["en"], "en/new"]})


def test_a_folder_with_another_decided_language_is_rejected(plan: PlanStore) -> None:
    script = {"zh": ["zh-yue/a"]}
    assert members(new(adopt(plan, script))) == [("zh", 0, ("zh-yue/a",))]
    plan.add_folders(0, {"zh-yue": "yue"})
    with pytest.raises(R2HfError, match="zh-yue is of zh in the work plan, but planned as yue here"):
        adopt(plan, script)


def test_languages_outside_the_grid_are_rejected(plan: PlanStore) -> None:
    with pytest.raises(R2HfError, match="LANGUAGES leaves out de, the work plan has de"):
        adopt(plan, SCRIPT, languages=["en", "unknown"])


def test_a_concurrent_scan_makes_the_import_fail(plan: PlanStore) -> None:
    bucket = MemoryBucket()
    put_folders(bucket, "en/a", "en/b")
    adopted = adopt(plan, SCRIPT)
    scan(bucket, plan, ScanRules(frozenset({"en"}), 1))
    with pytest.raises(R2HfError, match="planned by a scan meanwhile"):
        append_chunks(plan, new(adopted))


SEVERAL = {"fra": ["fra/f", "fra/g", "fra/h"], "fr": ["fr/i"], "iw": ["iw/j"], "123": ["123/k"]}


def on_hub(*paths: str) -> Inventory:
    return Inventory("head", {path: RemoteFile(path, 1, path) for path in paths})


def test_chunks_of_two_codes_of_a_language_are_numbered_in_sequence(plan: PlanStore) -> None:
    adopted = adopt(plan, SEVERAL, ("fra", 0), ("fr", 0))
    assert [(*item.chunk.name, item.code, item.finished) for item in adopted] == [
        ("fr", 0, "fr", True),
        ("fr", 1, "fra", True),
        ("fr", 2, "fra", False),
        ("he", 0, "iw", False),
        ("unknown", 0, "123", False),
    ]


def test_files_are_matched_under_the_scripts_name_or_ours(plan: PlanStore) -> None:
    parts = [f"data/fra/chunk-00000-part-{part:02d}.parquet" for part in range(2)]
    others = [
        "data/fra/chunk-00007.parquet",
        "data/fra/chunk-00001.txt",
        "data/iw/sub/chunk-00000.parquet",
        "data/fr/x",
    ]
    hub = on_hub("data/fr/chunk-00000.parquet", *parts, "data/fr/chunk-00002.parquet", *others)
    adopted = {item.chunk.name: item for item in adopt(plan, SEVERAL, hub=hub)}
    assert [len(item.files) for item in adopted.values()] == [1, 2, 1, 0, 0]
    assert adopted["fr", 1].renames == [(path, path.replace("fra/chunk-00000", "fr/chunk-00001")) for path in parts]
    assert not any(item.renames for name, item in adopted.items() if name != ("fr", 1))


def test_files_under_both_names_are_rejected(plan: PlanStore) -> None:
    both = on_hub("data/fra/chunk-00001-part-00.parquet", "data/fr/chunk-00002.parquet")
    with pytest.raises(R2HfError, match=r"data/fr/chunk-00002\S+ and data/fra/chunk-00001-part-00\S+ are both fr"):
        adopt(plan, SEVERAL, hub=both)


def test_a_due_chunk_names_all_its_files_as_replaceable() -> None:
    files = {f"data/fr/{name}": RemoteFile(f"data/fra/{name}", 7, name) for name in ("b", "a")}
    item = Adopted(chunk_of("fra/a", language="fr", number=0), "fra", True, False, files)
    due = item.as_due("no row in it")
    assert (due.name, due.why) == (("fr", 0), "the script's files: no row in it")
    assert [(file.path, file.size, file.sha256) for file in due.files] == [
        ("data/fr/a", 7, "a"),
        ("data/fr/b", 7, "b"),
    ]
