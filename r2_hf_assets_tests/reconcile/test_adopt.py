"""What the script left is read in its one form, becomes ours once, and is recorded by what its files hold."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from obstore.store import LocalStore, MemoryStore

from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.reads import Inventory
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.plan.scan import ScanRules, scan
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.plan.verify import check_plan
from r2_hf_assets.reconcile.adopt import (
    Adopted,
    Checked,
    WorkPlan,
    adopt_chunks,
    append_chunks,
    check_chunk,
    read_progress,
    read_work_plan,
)
from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_assets_tests.build_samples import NO_WAIT, PREFIX, chunk_of, put_episode, put_folders
from r2_hf_assets_tests.reconcile.local_files import as_on_hub
from r2_hf_assets_tests.reconcile.test_verify import source


def test_the_work_plan() -> None:
    written = {"de": [f"{PREFIX}deu/b/", f"{PREFIX}de/a/"], "fra": []}
    assert read_work_plan(json.dumps(written, indent=2).encode(), PREFIX) == {"de": ["deu/b", "de/a"], "fra": []}


@pytest.mark.parametrize("written", [b"{", b"\xff", b"[" * 100_000, b"[]", b'{"de": {"0": []}}'])
def test_a_work_plan_of_another_form(written: bytes) -> None:
    with pytest.raises(R2HfError, match=r'^the work plan is no JSON of the form \{"de": \["processed/de/.*$'):
        read_work_plan(written, PREFIX)


@pytest.mark.parametrize(
    "written",
    ["a", "en/a/", "processed/a/", "processed/en/a", "processed//a/", "processed/en//", "processed/en/a/b/", "", ["a"]],
)
def test_an_episode_is_a_whole_prefix(written: object) -> None:
    with pytest.raises(R2HfError, match=r"is no episode's prefix below 'processed/'; check PROCESSED_PREFIX$"):
        read_work_plan(json.dumps({"en": [written]}).encode(), PREFIX)


def test_an_episode_that_is_there_twice_is_refused() -> None:
    with pytest.raises(R2HfError, match="the work plan has 'processed/en/a/' twice"):
        read_work_plan(b'{"en": ["processed/en/a/"], "eng": ["processed/en/a/"]}', PREFIX)


PLANNED: WorkPlan = {name: ["x/a"] * 15 for name in ("de", "123")}


def test_finished_chunks() -> None:
    assert read_progress("de-1\nde-0\r\n123-7\nde-1\n", PLANNED, 2) == {("de", 1), ("de", 0), ("123", 7)}
    assert read_progress("", PLANNED, 2) == set()


@pytest.mark.parametrize("line", ["de 7", "de-7 done", "7", "de", "de-", "de-x", "de--", "de-٧", "-0", ""])
def test_a_line_of_another_form_is_named(line: str) -> None:
    with pytest.raises(R2HfError, match=r"^progress log, line 2: .* is not of the form de-0$"):
        read_progress(f"de-0\n{line}\n", PLANNED, 2)


@pytest.mark.parametrize("line", ["fr-0", "de-8"])
def test_a_chunk_that_the_plan_has_not(line: str) -> None:
    with pytest.raises(R2HfError, match=rf"line 1: '{line}' is not in the work plan; .* say --episodes-per-chunk N$"):
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
    """In chunks of two."""
    return adopt_chunks(script, finished, 2, plan, languages, hub)


def new(adopted: Iterable[Adopted]) -> list[Chunk]:
    return [item.chunk for item in adopted if not item.planned]


def members(chunks: Iterable[Chunk]) -> list[tuple[str, int, tuple[str, ...]]]:
    return [(chunk.language, chunk.number, chunk.episodes) for chunk in chunks]


SCRIPT = {"en": ["en/a", "en/b", "en-US/c"], "de": ["deu/d"]}


def test_members_order_and_numbers_are_kept(plan: PlanStore) -> None:
    found = adopt(plan, SCRIPT, ("en", 0), ("de", 0))
    assert members(new(found)) == [("de", 0, ("deu/d",)), ("en", 0, ("en/a", "en/b")), ("en", 1, ("en-US/c",))]
    assert [item.finished for item in found] == [True, True, False]
    assert plan.planned() == []
    append_chunks(plan, new(found))
    assert [(p.language, p.number) for p in plan.planned()] == [("de", 0), ("en", 0), ("en", 1)]
    assert check_plan(plan).passed


def test_a_second_import_has_nothing_to_do_and_a_stopped_one_goes_on(plan: PlanStore) -> None:
    bucket = MemoryStore()
    put_folders(bucket, "en/a", "en/b", "en-US/c", "en/new", "de/d")
    append_chunks(plan, new(adopt(plan, SCRIPT))[:2])
    assert members(new(adopt(plan, SCRIPT))) == [("en", 1, ("en-US/c",))]
    append_chunks(plan, new(adopt(plan, SCRIPT)))
    report = scan(bucket, plan, ScanRules(frozenset({"en"}), 10))
    assert members(report.new_chunks) == [("en", 2, ("en/new",))]
    assert new(adopt(plan, SCRIPT)) == []
    with pytest.raises(R2HfError, match="en chunk 1 is planned with other episodes than the script's"):
        adopt(plan, {"en": [*SCRIPT["en"], "en/new"]})


def test_a_folder_is_of_the_language_that_the_script_says_unless_it_is_decided_otherwise(plan: PlanStore) -> None:
    script = {"zh": ["zh-yue/a"]}
    assert members(new(adopt(plan, script))) == [("zh", 0, ("zh-yue/a",))]
    plan.add_folders(0, {"zh-yue": "yue"})
    with pytest.raises(R2HfError, match="zh-yue is of zh in the work plan, and planned as yue here"):
        adopt(plan, script)


def test_languages_outside_the_grid_are_refused(plan: PlanStore) -> None:
    with pytest.raises(R2HfError, match="LANGUAGES leaves out de, the work plan has de"):
        adopt(plan, SCRIPT, languages=["en", "unknown"])


def test_another_planner_in_between_is_noticed(plan: PlanStore) -> None:
    bucket = MemoryStore()
    put_folders(bucket, "en/a", "en/b")
    found = adopt(plan, SCRIPT)
    scan(bucket, plan, ScanRules(frozenset({"en"}), 1))
    with pytest.raises(R2HfError, match="planned by a scan meanwhile"):
        append_chunks(plan, new(found))


SEVERAL = {"fra": ["fra/f", "fra/g", "fra/h"], "fr": ["fr/i"], "iw": ["iw/j"], "123": ["123/k"]}


def on_hub(*paths: str) -> Inventory:
    return Inventory("head", {path: RemoteFile(path, 1, path) for path in paths})


def test_two_names_of_one_language_follow_each_other(plan: PlanStore) -> None:
    found = adopt(plan, SEVERAL, ("fra", 0), ("fr", 0))
    assert [(*item.name, item.folder, item.finished) for item in found] == [
        ("fr", 0, "fr", True),
        ("fr", 1, "fra", True),
        ("fr", 2, "fra", False),
        ("he", 0, "iw", False),
        ("unknown", 0, "123", False),
    ]


def test_files_are_found_under_the_scripts_name_or_ours(plan: PlanStore) -> None:
    parts = [f"data/fra/chunk-00000-part-{part:02d}.parquet" for part in range(2)]
    others = [
        "data/fra/chunk-00007.parquet",
        "data/fra/chunk-00001.txt",
        "data/iw/sub/chunk-00000.parquet",
        "data/fr/x",
    ]
    hub = on_hub("data/fr/chunk-00000.parquet", *parts, "data/fr/chunk-00002.parquet", *others)
    found = {item.name: item for item in adopt(plan, SEVERAL, hub=hub)}
    assert [len(item.files) for item in found.values()] == [1, 2, 1, 0, 0]
    assert found["fr", 1].renames == [(path, path.replace("fra/chunk-00000", "fr/chunk-00001")) for path in parts]
    assert not any(item.renames for name, item in found.items() if name != ("fr", 1))


def test_files_under_both_names_are_refused(plan: PlanStore) -> None:
    both = on_hub("data/fra/chunk-00001-part-00.parquet", "data/fr/chunk-00002.parquet")
    with pytest.raises(R2HfError, match=r"data/fr/chunk-00002\S+ and data/fra/chunk-00001-part-00\S+ are both fr"):
        adopt(plan, SEVERAL, hub=both)


CHUNK = chunk_of("en/a", "en-US/b", "en/c", "en/d")


@pytest.fixture
def bucket() -> MemoryStore:
    """Three segments of `a` can be had, three of four of `b`; the metadata of `c` is no JSON, `d` has a bad entry."""
    store = MemoryStore()
    put_episode(store, "en/a", 3)
    put_episode(store, "en-US/b", 4, without=[2])
    put_episode(store, "en/c", metadata=b"nonsense")
    put_episode(store, "en/d", [{"text": "first"}, None, {"text": "third"}])
    return store


def of(episode: str, *segments: int) -> list[str]:
    return [f"{PREFIX}{episode}/{episode.rpartition('/')[2]}_{segment:06d}.mp3" for segment in segments]


A, B, D = of("en/a", 0, 1, 2), of("en-US/b", 0, 1, 3), of("en/d", 0, 2)


PLAIN = SCHEMA.remove_metadata()  # the script writes no features


def write(path: Path, keys: Sequence[str | None], schema: pa.Schema = PLAIN) -> Path:
    rows = [{"audio": {"path": key, "bytes": b"mp3"}, "dnsmos": 0} for key in keys]
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


def check(bucket: MemoryStore, *parts: Path, missing: int | None = None) -> Checked:
    """What is found of these files on the Hub, but for the `missing` one."""
    files, reader = as_on_hub(*parts)
    there = {file.path: file for number, file in enumerate(files) if number != missing}
    return check_chunk(Adopted(CHUNK, "en", True, False, there), reader, source(bucket))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ([*A, *B, *D], "8 rows"),
        ([*D[::-1], *A[1:], *B, A[0]], "8 rows"),
        (A, "lacks 5 of 9 segments"),
        ([*D, *B], "lacks 3 of 9 segments"),
        # The bad entry of `d`, and `c`, whose metadata was sound when the script read it.
        ([*A, *of("en/c", 0, 1), *B, *of("en/d", 0, 1, 2)], "11 rows"),
    ],
)
def test_what_the_script_lost_is_counted_in_any_order(
    bucket: MemoryStore, tmp_path: Path, keys: list[str], said: str
) -> None:
    found = check(bucket, write(tmp_path / "file", keys))
    assert (found.problem, found.summary) == (None, said)
    done = found.as_done()
    assert (done.chunk.digest, done.rows) == (CHUNK.digest, len(keys))


def test_audio_that_came_later_counts_as_lost(bucket: MemoryStore, tmp_path: Path) -> None:
    obstore.put(bucket, of("en-US/b", 2)[0], b"mp3")
    assert check(bucket, write(tmp_path / "file", [*A, *B, *D])).summary == "lacks 1 of 9 segments"


def test_parts_are_recorded_in_their_order(bucket: MemoryStore, tmp_path: Path) -> None:
    parts = write(tmp_path / "0", [*D, *B]), write(tmp_path / "1", A)
    done, due = check(bucket, *parts).as_done(), check(bucket, *parts, missing=0).as_due()
    assert [(file.name, file.rows) for file in done.files] == [
        ("chunk-00007-part-00.parquet", 5),
        ("chunk-00007-part-01.parquet", 3),
    ]
    assert due.why == "the script's files: its parts are not 00 to the last: data/en/chunk-00007-part-01.parquet"
    assert [(file.name, file.sha256) for file in due.files] == [(done.files[1].name, done.files[1].sha256)]


@pytest.mark.parametrize(
    ("keys", "problem", "foreign"),
    [
        ([], "no row in it", False),
        ([*A, A[1]], f"its row {A[1]} is there more than once", False),
        ([*A, *of("en/e", 0)], "its row processed/en/e/e_000000.mp3 is of no episode of this chunk", True),
        ([*A, *of("de/a", 0)], "its row processed/de/a/a_000000.mp3 is of no episode of this chunk", True),
        ([*A, "a_000000.mp3"], "its row a_000000.mp3 is of no episode of this chunk", True),
        ([*A, A[0], None], "its row None is of no episode of this chunk", True),
    ],
)
def test_rows_that_do_not_belong_there(
    bucket: MemoryStore, tmp_path: Path, keys: list[str | None], problem: str, foreign: bool
) -> None:
    found = check(bucket, write(tmp_path / "file", keys))
    assert (found.problem, found.foreign) == (problem, foreign)


def test_files_that_are_not_the_datasets(bucket: MemoryStore, tmp_path: Path) -> None:
    other = pa.schema([SCHEMA.field("audio"), pa.field("dnsmos", pa.int64())])
    assert "other columns than the dataset's" in check(bucket, write(tmp_path / "other", A, other)).summary
    (tmp_path / "broken").write_bytes(b"PAR1 and no more")
    assert "no sound Parquet" in check(bucket, tmp_path / "broken").summary
    assert check(bucket).problem == "no file on the Hub"
