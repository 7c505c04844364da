"""compare: each kind of difference, and which chunks are counted, recordable, unproven or lost."""

from dataclasses import replace
from typing import Any

import pytest

from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.reads import Inventory
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.reconcile.compare import State, compare, update
from r2_hf_assets.reconcile.report import ADVICE, Due, Kind, Recovered
from r2_hf_assets.shards.names import index_path, path_in_repo, shard_names
from r2_hf_assets.shards.record import BuildRecord, ShardFile, Tally

CHUNK = ChunkRef("en", 7, "digest-7", 3)
NAME = ("en", 7)
DONE = {NAME: "digest-7"}
ONE, TWO = "data/en/chunk-00007-part-00.parquet", "data/en/chunk-00007-part-01.parquet"
WHOLE, INDEX = "data/en/chunk-00007.parquet", "metadata/en/chunk-00007.parquet"


def build(parts: int = 2, digest: str = "digest-7") -> BuildRecord:
    paths = [path_in_repo("en", name) for name in shard_names(7, parts)]
    files = tuple(ShardFile(path, 5, 100 + n, f"sha {n}") for n, path in enumerate(paths))
    index = ShardFile(index_path("en", 7), 5 * parts + 1, 50, "sha of the index")
    return BuildRecord("en", 7, digest, files, index, Tally(rows=5 * parts))


def on_hub(record: BuildRecord, **changes: Any) -> dict[str, RemoteFile]:
    """Return the record's files as the Hub lists them, the last part changed."""
    files = {file.path: RemoteFile(file.path, file.size, file.sha256) for file in record.all_files}
    if record.files:
        last = record.files[-1].path
        files[last] = replace(files[last], **changes)
    return files


def without(*paths: str) -> dict[str, RemoteFile]:
    """Return the files of a build of two parts as the Hub lists them, without these."""
    return {path: file for path, file in on_hub(build()).items() if path not in paths}


def files(*paths: str) -> dict[str, RemoteFile]:
    return {path: RemoteFile(path, 1, "sha") for path in paths}


def state(
    *,
    recorded: dict | None = None,
    shards: dict | None = None,
    built: BuildRecord | None = None,
    hub: dict | None = None,
    committed: BuildRecord | None = None,
) -> State:
    recorded = {} if recorded is None else recorded
    return State(
        planned=(CHUNK,),
        shards_recorded=recorded if shards is None else shards,
        commits_recorded=recorded,
        builds={NAME: built} if built else {},
        hub=Inventory("head", hub or {}),
        committed={NAME: committed.all_files} if committed else {},
    )


CASES: dict[str, tuple[State, list[tuple[Kind, str]]]] = {
    "only planned": (state(), []),
    "built and not committed": (state(shards=DONE, built=build()), []),
    "as committed": (state(recorded=DONE, built=build(), hub=on_hub(build())), []),
    "without its build record": (state(recorded=DONE, hub=on_hub(build())), []),
    "unplanned before": (state(recorded={NAME: "unplanned"}), []),
    "absent": (state(recorded=DONE, built=build()), [(Kind.ABSENT, f"3 of 3 files: {ONE}, {TWO}, {INDEX}")]),
    "a part absent": (
        state(recorded=DONE, built=build(), hub=without(TWO)),
        [(Kind.ABSENT, f"1 of 3 files: {TWO}")],
    ),
    "its index absent": (
        state(recorded=DONE, built=build(), hub=without(INDEX)),
        [(Kind.ABSENT, f"1 of 3 files: {INDEX}")],
    ),
    "another index": (
        state(recorded=DONE, built=build(), hub=without(INDEX) | files(INDEX)),
        [(Kind.OTHER_CONTENT, f"{INDEX}: 50 bytes, SHA-256 sha of the index were built, 1 bytes, SHA-256 sha are on")],
    ),
    "committed before there were indexes": (
        state(recorded=DONE, committed=replace(build(), index=None), hub=without(INDEX)),
        [],
    ),
    "an index of no planned chunk": (
        state(hub=files("metadata/en/chunk-00008.parquet", "metadata/en/chunk-00007-part-00.parquet")),
        [(Kind.UNKNOWN, "metadata/en/chunk-00007-part-00"), (Kind.UNKNOWN, "metadata/en/chunk-00008.parquet")],
    ),
    "absent, no record": (state(recorded=DONE), [(Kind.ABSENT, "no file, and no record")]),
    "a part absent, no record": (state(recorded=DONE, hub=files(TWO)), [(Kind.ABSENT, "not 00 to the last")]),
    "as committed, no build record": (state(recorded=DONE, committed=build(), hub=on_hub(build())), []),
    "the last part absent, no build record": (
        state(recorded=DONE, committed=build(), hub=without(TWO)),
        [(Kind.ABSENT, f"1 of 3 files: {TWO}")],
    ),
    "a part replaced, no build record": (
        state(recorded=DONE, committed=build(), hub=on_hub(build(), sha256="other")),
        [(Kind.OTHER_CONTENT, f"{TWO}: 101 bytes, SHA-256 sha 1 were built, 101 bytes, SHA-256 other are on the Hub")],
    ),
    "all absent, no build record": (state(recorded=DONE, committed=build()), [(Kind.ABSENT, "3 of 3 files")]),
    "committed, then built differently": (
        state(recorded=DONE, committed=build(1), built=build(), hub=on_hub(build(1))),
        [],
    ),
    "without a row, then a file": (
        state(recorded=DONE, committed=build(0), hub=on_hub(build(0)) | files(WHOLE)),
        [(Kind.STALE, WHOLE)],
    ),
    "due again": (state(recorded={NAME: "due"}, shards=DONE), []),
    "other bytes": (
        state(recorded=DONE, built=build(), hub=on_hub(build(), sha256="other")),
        [(Kind.OTHER_CONTENT, f"{TWO}: 101 bytes, SHA-256 sha 1 were built, 101 bytes, SHA-256 other are on the Hub")],
    ),
    "other size": (
        state(recorded=DONE, built=build(), hub=on_hub(build(), size=7)),
        [(Kind.OTHER_CONTENT, "were built, 7 bytes, SHA-256 sha 1 are on the Hub")],
    ),
    "not in LFS": (
        state(recorded=DONE, built=build(), hub=on_hub(build(), sha256=None)),
        [(Kind.OTHER_CONTENT, "101 bytes, SHA-256 None are on the Hub")],
    ),
    "an older build, to be replaced": (
        state(built=build(), hub=on_hub(build(), sha256="older")),
        [(Kind.UNRECORDED, "3 files, not those of a build record")],
    ),
    "a stale part": (state(recorded=DONE, built=build(1), hub=on_hub(build(1)) | files(TWO)), [(Kind.STALE, TWO)]),
    "not recorded": (
        state(built=build(), hub=on_hub(build())),
        [(Kind.UNRECORDED, "3 files as built; not recorded: hub_commit, parquet_shards")],
    ),
    "only the commit recorded": (
        state(recorded=DONE, shards={}, built=build(), hub=on_hub(build())),
        [(Kind.UNRECORDED, "not recorded: parquet_shards")],
    ),
    "without a row": (
        state(built=build(0), hub=on_hub(build(0))),
        [(Kind.UNRECORDED, "1 file as built; not recorded: hub_commit, parquet_shards")],
    ),
    "without a row, not committed": (state(built=build(0)), []),
    "without a row, its index absent": (
        state(recorded=DONE, committed=build(0)),
        [(Kind.ABSENT, f"1 of 1 file: {INDEX}")],
    ),
    "neither recorded nor a build record": (state(hub=files(WHOLE)), [(Kind.UNRECORDED, "1 file, not")]),
    "not recorded, a part absent": (
        state(built=build(), hub=without(TWO)),
        [(Kind.UNRECORDED, "2 files, not those of a build record")],
    ),
    "recorded for another digest": (
        state(recorded={NAME: "before"}),
        [(Kind.OTHER_DIGEST, "hub_commit: before is recorded"), (Kind.OTHER_DIGEST, "parquet_shards: before")],
    ),
    "built for another digest": (state(built=build(digest="before")), []),
    "recorded, not planned": (
        state(recorded={("de", 0): "gone", ("fr", 0): "unplanned"}),
        [(Kind.NOT_PLANNED, "digest gone")],
    ),
    "files of no planned chunk": (
        state(hub=files("data/en/chunk-00008.parquet", "data/notes.txt")),
        [(Kind.UNKNOWN, "data/en/chunk-00008.parquet"), (Kind.UNKNOWN, "data/notes.txt")],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_difference_is_reported(case: str) -> None:
    state, expected = CASES[case]
    differences = compare(state).differences
    assert [difference.kind for difference in differences] == [kind for kind, _ in expected]
    for difference, (_, detail) in zip(differences, expected, strict=True):
        assert detail in difference.detail


def test_every_kind_has_a_case_and_advice() -> None:
    kinds = {kind for _, expected in CASES.values() for kind, _ in expected}
    of_rows = {Kind.ROWS_NOT_PLANNED, Kind.UNREADABLE_INDEX}  # whole.py
    assert kinds | {Kind.UNVERIFIABLE} | of_rows == set(Kind) == set(ADVICE)


@pytest.mark.parametrize(
    ("case", "numbers"),
    [
        ("only planned", {"due": 1, "nothing": 1}),
        ("built and not committed", {"due": 1}),
        ("as committed", {"recorded": 1, "as_built": 1}),
        ("without its build record", {"recorded": 1, "unchecked": 1}),
        ("as committed, no build record", {"recorded": 1, "as_built": 1}),
        ("absent", {"recorded": 1}),
        ("due again", {"due": 1, "nothing": 1}),
        ("not recorded", {"due": 1, "as_built": 1}),
        ("recorded for another digest", {"due": 1, "nothing": 1}),
    ],
)
def test_chunks_are_counted(case: str, numbers: dict[str, int]) -> None:
    report = compare(CASES[case][0])
    counts = {name: getattr(report, name) for name in ("recorded", "due", "nothing", "as_built", "unchecked")}
    assert {name: count for name, count in counts.items() if count} == numbers


RECORDABLE = {"not recorded", "only the commit recorded", "without a row"}
LOST = {name for name, (given, expected) in CASES.items() if given.commits_recorded == DONE and expected} - RECORDABLE


@pytest.mark.parametrize("case", CASES)
def test_recordable_unproven_and_lost_chunks(case: str) -> None:
    report = compare(CASES[case][0])
    assert [item.chunk for item in report.recordable] == ([CHUNK] if case in RECORDABLE else [])
    unproven = ("neither recorded nor a build record", "an older build, to be replaced", "not recorded, a part absent")
    assert report.unproven == ([CHUNK] if case in unproven else [])
    assert [due.name for due in report.lost] == ([NAME] if case in LOST else [])


def test_the_order_of_differences_does_not_depend_on_the_input_order() -> None:
    chunks = tuple(ChunkRef(language, number, "d", 1) for language in ("en", "de") for number in (1, 0))
    hub = files("data/x", "data/a", "data/en/chunk-00001.parquet", "data/de/chunk-00000.parquet")
    given = State(chunks, {}, {("de", 1): "d", ("en", 0): "d"}, {}, Inventory("head", hub))
    reverse = replace(given, planned=chunks[::-1], hub=Inventory("head", dict(reversed(hub.items()))))
    assert compare(given).differences == compare(reverse).differences
    assert [(d.kind, d.chunk, d.detail[:6]) for d in compare(given).differences] == [
        (Kind.ABSENT, ("de", 1), "no fil"),
        (Kind.ABSENT, ("en", 0), "no fil"),
        (Kind.UNRECORDED, ("de", 0), "1 file"),
        (Kind.UNRECORDED, ("en", 1), "1 file"),
        (Kind.UNKNOWN, None, "data/a"),
        (Kind.UNKNOWN, None, "data/x"),
    ]


def test_a_read_chunk_is_recordable_or_unverifiable() -> None:
    given = CASES["an older build, to be replaced"][0]
    whole, lost = Recovered(CHUNK, build().files, "its rows"), Due(NAME, "a row is missing")
    good, bad = compare(given), compare(given)
    update(good, [whole])
    assert [(d.kind, d.chunk) for d in good.differences] == [(Kind.UNRECORDED, NAME)]
    assert (good.recordable, good.unproven) == ([whole], [])
    update(bad, [lost])
    assert [(d.kind, d.chunk, d.detail) for d in bad.differences] == [(Kind.UNVERIFIABLE, NAME, "a row is missing")]
    assert (bad.recordable, bad.unproven) == ([], [])
