"""Repeats over all rows, rows that no plan names, what is counted where, and the limits of memory and disk."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from r2_hf_assets.errors import DiskError, ShardError
from r2_hf_assets.plan.chunks import ChunkManifest, Name
from r2_hf_assets.reconcile import whole
from r2_hf_assets.reconcile.report import Difference, Kind
from r2_hf_assets.reconcile.whole import COMPARED, AllRows, Index, check_rows, find_unplanned_rows, summarize
from r2_hf_assets.verdict import Severity, Verdict
from r2_hf_assets_tests.support.build_samples import chunk_of

EN0, DE0 = ("en", 0), ("de", 0)
# (episode, bytes of audio, hash); a reject has neither.
Row = tuple[str, int | None, int | None]


def table(*rows: Row) -> pa.Table:
    """Return an index's columns; `row` is null for a reject, and the hash alone where the audio was not read."""
    values = [(*row, None if row[1] is None else number) for number, row in enumerate(rows)]
    return pa.Table.from_pylist([dict(zip(COMPARED.names, row, strict=True)) for row in values], COMPARED)


def index(*rows: Row, manifest: ChunkManifest | None, name: Name = EN0) -> Index:
    return Index(name, table(*rows), manifest)


def find(tmp_path: Path, **chunks: Sequence[Row]) -> AllRows:
    """Compare the rows of chunks, named by language and number: en0. Only repeats are in the result."""
    named = {(name[:2], int(name[2:])): rows for name, rows in chunks.items()}
    found = summarize([index(*rows, manifest=None, name=name) for name, rows in sorted(named.items())], tmp_path)
    return replace(found, indexes=0, rejects=0, unplanned_rows=0, differences=())


def test_equal_audio_in_several_chunks_and_episodes(tmp_path: Path) -> None:
    found = find(
        tmp_path,
        en0=[("en/a", 10, 1), ("en/b", 10, 1), ("en/b", 20, 2), ("en/b", None, None)],
        en1=[("en/c", 20, 2), ("en/c", 20, 2), ("en/d", None, None), ("en/d", 7, 7)],
    )
    lines = ("equal_audio: en/a in en = en/b in en", "equal_audio: en/b in en = en/c in en")
    assert found == AllRows(
        rows=6, equal_groups=2, across_chunks=1, redundant_rows=3, redundant_bytes=10 + 2 * 20, lines=lines
    )


def test_rows_without_a_hash_are_rows(tmp_path: Path) -> None:
    """The index of a chunk that was made from its files has none."""
    assert find(tmp_path, en0=[("en/a", 10, None), ("en/b", 10, None), ("en/b", 10, 2)]) == AllRows(rows=3)


def test_equal_audio_within_an_episode_is_no_repeat(tmp_path: Path) -> None:
    assert find(tmp_path, en0=[("en/a", 10, 1)] * 3 + [("en/b", 10, 2)]) == AllRows(rows=4)


def test_equal_hashes_of_different_sizes_and_missing_audio_are_not_equal(tmp_path: Path) -> None:
    hashes: list[Row] = [("en/a", 10, 2**64 - 1), ("en/b", 11, 2**64 - 1), ("en/c", None, None), ("en/d", None, None)]
    assert find(tmp_path, en0=hashes) == AllRows(rows=2)


def test_episodes_in_two_languages_by_their_audio(tmp_path: Path) -> None:
    found = find(
        tmp_path,
        en0=[("en/a", 10, 1), ("en/a", 11, 2), ("en-US/b", 12, 3), ("en/c", 13, 4), ("en/d", 14, 5)],
        en1=[("en/b", 12, 3), ("en-US/e", 14, 5)],
        de0=[("de/z", 10, 1), ("de/z", 11, 2), ("de/c", 13, 99)],
    )
    assert found.in_two_languages == 1, "c has other audio, and b is in two folders of one language"
    assert "episodes_in_two_languages: de/z in de = en/a in en" in found.lines
    assert found.equal_groups == 4


def test_an_episode_in_the_indexes_of_two_languages(tmp_path: Path) -> None:
    found = find(tmp_path, en0=[("x/a", 10, 1), ("x/b", None, None)], de0=[("x/a", 10, 2), ("x/b", None, None)])
    pairs = ("x/a in de = x/a in en", "x/b in de = x/b in en")
    assert (found.in_two_languages, found.equal_groups) == (2, 0)
    assert found.lines == tuple(f"episodes_in_two_languages: {pair}" for pair in pairs)
    with_audio = find(tmp_path, en0=[("x/a", 10, 1)], de0=[("x/a", 10, 1)])
    assert (with_audio.in_two_languages, with_audio.equal_groups) == (1, 1), "counted once"


def test_every_pass_is_counted_and_few_examples_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "_ROWS_PER_PASS", 7)
    rows: list[Row] = [(f"en/{number}", 10, number) for number in range(20)]
    copies: list[Row] = [("de/a", 10, number) for number in range(20)]
    found = find(tmp_path, en0=rows, de0=copies)
    assert (found.equal_groups, found.redundant_bytes, found.in_two_languages) == (20, 200, 20)
    assert [line for line in found.lines if line.startswith("equal_audio")] == [
        f"equal_audio: de/a in de = en/{number} in en" for number in (0, 1, 10)
    ]


def test_without_any_index(tmp_path: Path) -> None:
    assert find(tmp_path) == AllRows()


def test_rows_of_an_episode_outside_of_the_manifest() -> None:
    rows: list[Row] = [("en/a", 1, 1), ("en/x", 2, 2), ("en/x", None, None), ("en/y", 3, 3)]
    detail = "3 rows of 2 episodes that its manifest lacks, the first is en/x"
    assert find_unplanned_rows(index(*rows, manifest=chunk_of("en/a", "en/b"))) == (3, detail)
    assert find_unplanned_rows(index(*rows, manifest=chunk_of("en/a", "en/x", "en/y")))[0] == 0
    assert find_unplanned_rows(index(*rows, manifest=None)) == (4, "4 rows, and the plan has no such chunk")


def test_the_summary_counts_indexes_and_keeps_differences(tmp_path: Path) -> None:
    damaged = Difference(Kind.UNREADABLE_INDEX, DE0, "metadata/de/chunk-00000.parquet is damaged")
    members = chunk_of("en/a")
    rows = summarize(
        [damaged, index(("en/a", 5, 1), ("en/a", None, None), manifest=members), index(("en/b", 5, 1), manifest=None)],
        tmp_path / "scratch",
        without_index=4,
    )
    assert (rows.indexes, rows.without_index, rows.rows, rows.rejects, rows.unplanned_rows) == (2, 4, 2, 1, 1)
    assert rows.differences[0] == damaged
    assert rows.differences[1] == Difference(Kind.ROWS_NOT_PLANNED, EN0, "1 row, and the plan has no such chunk")
    assert rows.equal_groups == 1
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("passed", [True, False])
@pytest.mark.parametrize("repeats", [{}, {"equal_groups": 1}, {"in_two_languages": 1}])
def test_repeats_warn_and_leave_an_error_as_it_is(passed: bool, repeats: dict[str, Any]) -> None:
    verdict = check_rows(Verdict(passed, Severity.ERROR, "files", {"files": 3}), replace(AllRows(rows=2), **repeats))
    assert verdict.passed is (passed and not repeats)
    assert verdict.severity is (Severity.WARN if passed else Severity.ERROR)
    assert verdict.numbers["files"] == 3 and verdict.numbers["rows"] == 2
    assert verdict.summary.startswith("files; 2 rows in 0 indexes; ")


def test_errors_of_the_indexes_stay_and_those_of_the_disk_are_one_line(tmp_path: Path) -> None:
    def broken() -> Iterator[Index]:
        yield index(("en/a", 1, 1), manifest=None)
        raise ShardError("of the Hub")

    with pytest.raises(ShardError, match="of the Hub"):
        summarize(broken(), tmp_path)
    assert list(tmp_path.iterdir()) == [], "the scratch folder is removed"
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match=r"/file: a file is in place of a folder"):
        summarize([], tmp_path / "file")
