"""A built chunk with rows and rejects of every kind, which tests of the ledger check damage.

Other tables go to the writer and other lines to the index. The record agrees with them (sizes, hashes, counters), as
after a faulty build.
"""

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from r2_hf_assets.shards.audit import Audit, check_ledger
from r2_hf_assets.shards.index import INDEX_SCHEMA
from r2_hf_assets.shards.names import path_in_repo, shard_names
from r2_hf_assets.shards.record import BuildRecord, ShardFile, Tally
from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_assets.shards.writer import Part, PartWriter
from r2_hf_assets.verdict import Severity, Verdict
from r2_hf_assets_tests.support.build_samples import (
    PREFIX,
    MemoryBuild,
    MemoryUpload,
    build_in_memory,
    chunk_of,
    entry,
    put_episode,
)
from r2_hf_assets_tests.support.store_gets import MemoryBucket

# Several parts of several row groups, segments rejected in three episodes, of which one has no row, and an episode
# without entries.
CHUNK = chunk_of("en/a", "en-US/a", "en/none", "en/lost", "en/b")
ENTRIES = {"en/a": 10, "en-US/a": 7, "en/lost": 2, "en/b": 10}
ROWS = 9 + 6 + 10
_MAX_BYTES, _ROWGROUP_BYTES, _ROWS_A_GROUP = 130_000, 20_000, 3

Lines = list[dict[str, Any]]


@dataclass
class Built:
    """A build to damage: the writer's tables and parts, and the index."""

    record: BuildRecord
    index: bytes
    tables: list[pa.Table] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)

    def audit(self) -> Audit:
        audit = Audit(CHUNK)
        for episode, entries in ENTRIES.items():
            audit.count_entries(episode, entries)
        for table in self.tables:
            audit.count_rows(table)
        return audit

    def check(self) -> Verdict:
        return check_ledger(self.audit(), self.record, self.index)

    def kinds(self) -> dict[str, int]:
        verdict = self.check()
        assert not verdict.passed and verdict.severity is Severity.ERROR
        assert verdict.numbers["problems"] == sum(verdict.numbers["problems_by_kind"].values())
        return verdict.numbers["problems_by_kind"]

    def rows(self) -> Lines:
        return [row for table in self.tables for row in table.to_pylist()]

    def write(self, rows: Lines) -> None:
        """Write these rows, and an index that agrees with them and keeps its rejects."""
        rejects, places = self.reject_lines(), list[tuple[int, int, int]]()
        self.tables = []
        with PartWriter(MemoryUpload(), _MAX_BYTES) as writer:
            for first in range(0, len(rows), _ROWS_A_GROUP):
                table = pa.Table.from_pylist(rows[first : first + _ROWS_A_GROUP], SCHEMA)
                self.tables.append(table)
                part, group = writer.write(table, sum(len(row["audio"]["bytes"] or b"") for row in table.to_pylist()))
                places += [(part, group, place) for place in range(len(table))]
        self.set_parts(writer.parts)
        self.write_index([*map(self._line, rows, places), *rejects])

    def _line(self, row: dict[str, Any], place: tuple[int, int, int]) -> dict[str, Any]:
        part, group, number = place
        match = re.fullmatch(f"{PREFIX}(.+)/[^/]+_(.+).mp3", row["audio"]["path"] or "")
        return {
            "episode": match and match[1],
            "segment": int(match[2]) if match and match[2].isdecimal() else None,
            "key": row["audio"]["path"],
            "file": self.record.files[part].path,
            "row_group": group,
            "row": number,
        }

    def set_parts(self, parts: list[Part]) -> None:
        """Replace the parts, and make the record agree."""
        self.parts = parts
        names = shard_names(CHUNK.number, len(parts))
        files = [
            ShardFile(path_in_repo("en", name), part.rows, part.size, part.sha256)
            for name, part in zip(names, parts, strict=True)
        ]
        self.record = replace(self.record, files=tuple(files))

    def index_lines(self) -> Lines:
        return pq.read_table(pa.BufferReader(self.index)).to_pylist()

    def row_lines(self) -> Lines:
        return [line for line in self.index_lines() if line["reject_reason"] is None]

    def reject_lines(self) -> Lines:
        return [line for line in self.index_lines() if line["reject_reason"] is not None]

    def write_rejects(self, lines: Lines) -> None:
        self.write_index([*self.row_lines(), *lines])

    def write_index(self, lines: Lines) -> None:
        assert self.record.index is not None
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(lines, INDEX_SCHEMA), sink)
        self.index = sink.getvalue().to_pybytes()
        sha256 = hashlib.sha256(self.index).hexdigest()
        recorded = replace(self.record.index, rows=len(lines), size=len(self.index), sha256=sha256)
        self.record = replace(self.record, index=recorded)

    def count_again(self) -> None:
        """Make the tally agree with the damage."""
        rows, rejects = self.rows(), self.reject_lines()
        with_rows = {row["audio"]["path"].rsplit("/", 1)[0] for row in rows}
        segments = sum(line["segment"] is not None for line in rejects)
        reasons = [line["reject_reason"] for line in rejects]
        self.record = replace(
            self.record,
            tally=Tally(
                episodes=len(CHUNK.episodes),
                episodes_with_rows=len(with_rows),
                episodes_rejected=len(CHUNK.episodes) - len(with_rows),
                entries=sum(ENTRIES.values()),
                rows=len(rows),
                segments_rejected=segments,
                rejects={reason: reasons.count(reason) for reason in reasons},
                audio_bytes=sum(len(row["audio"]["bytes"] or b"") for row in rows),
            ),
        )


def build() -> MemoryBuild:
    bucket = MemoryBucket()
    put_episode(bucket, "en/a", 10, size=5000, without=[3])
    put_episode(bucket, "en-US/a", [*(entry(index) for index in range(6)), "no object"], size=5000)
    put_episode(bucket, "en/none", [])
    put_episode(bucket, "en/lost", 2, without=[0, 1])
    put_episode(bucket, "en/b", 10, size=5000)
    return build_in_memory(CHUNK, bucket, max_bytes=_MAX_BYTES, rowgroup_bytes=_ROWGROUP_BYTES)


def rebuild(made: MemoryBuild) -> Built:
    """Write the same rows again, row group by row group."""
    built = Built(made.record, made.index)
    built.write(made.rows())
    built.index, built.record = made.index, replace(built.record, index=made.record.index)
    return built


def key(episode: str, number: int) -> str:
    return f"{PREFIX}{episode}/{episode.rsplit('/', 1)[-1]}_{number:06d}.mp3"


def row(episode: str, number: int) -> dict[str, Any]:
    return {"audio": {"path": key(episode, number), "bytes": b"audio"}}
