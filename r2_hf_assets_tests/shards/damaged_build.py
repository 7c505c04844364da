"""A built chunk with rows and rejects of every kind, which tests of the ledger check damage.

Other tables go to the writer and other rows to the ledger. The record agrees with them (sizes, hashes, counters), as
after a faulty build.
"""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from r2_hf_assets.shards.audit import Audit, check_ledger
from r2_hf_assets.shards.names import shard_names
from r2_hf_assets.shards.record import BuildRecord, ShardFile, Tally
from r2_hf_assets.shards.schema import REJECT_SCHEMA, SCHEMA
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

# Several parts of several row groups, segments rejected in three episodes, and two episodes rejected whole.
CHUNK = chunk_of("en/a", "en-US/a", "en/none", "en/lost", "en/b")
ENTRIES = {"en/a": 10, "en-US/a": 7, "en/lost": 2, "en/b": 10}
ROWS = 9 + 6 + 10
_MAX_BYTES, _ROWGROUP_BYTES, _ROWS_A_GROUP = 130_000, 20_000, 3

Lines = list[dict[str, Any]]


@dataclass
class Built:
    """A build to damage: the writer's tables and parts, and the ledger."""

    record: BuildRecord
    rejects: bytes | None
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
        return check_ledger(self.audit(), self.record, self.rejects)

    def kinds(self) -> dict[str, int]:
        verdict = self.check()
        assert not verdict.passed and verdict.severity is Severity.ERROR
        assert verdict.numbers["problems"] == sum(verdict.numbers["problems_by_kind"].values())
        return verdict.numbers["problems_by_kind"]

    def rows(self) -> Lines:
        return [row for table in self.tables for row in table.to_pylist()]

    def write(self, rows: Lines) -> None:
        self.tables = []
        with PartWriter(MemoryUpload(), _MAX_BYTES) as writer:
            for first in range(0, len(rows), _ROWS_A_GROUP):
                table = pa.Table.from_pylist(rows[first : first + _ROWS_A_GROUP], SCHEMA)
                self.tables.append(table)
                writer.write(table, sum(len(row["audio"]["bytes"] or b"") for row in table.to_pylist()))
        self.set_parts(writer.parts)

    def set_parts(self, parts: list[Part]) -> None:
        """Replace the parts, and make the record agree."""
        self.parts = parts
        names = shard_names(CHUNK.number, len(parts))
        files = [ShardFile(name, part.rows, part.size, part.sha256) for name, part in zip(names, parts, strict=True)]
        self.record = replace(self.record, files=tuple(files))

    def reject_lines(self) -> Lines:
        return pq.read_table(pa.BufferReader(self.rejects)).to_pylist()

    def write_rejects(self, lines: Lines) -> None:
        assert self.record.rejects is not None
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(lines, REJECT_SCHEMA), sink)
        self.rejects = sink.getvalue().to_pybytes()
        sha256 = hashlib.sha256(self.rejects).hexdigest()
        recorded = replace(self.record.rejects, rows=len(lines), size=len(self.rejects), sha256=sha256)
        self.record = replace(self.record, rejects=recorded)

    def count_again(self) -> None:
        """Make the tally agree with the damage."""
        rows, rejects = self.rows(), self.reject_lines()
        with_rows = {row["audio"]["path"].rsplit("/", 1)[0] for row in rows}
        segments = sum(line["level"] == "segment" for line in rejects)
        reasons = [line["reason"] for line in rejects]
        self.record = replace(
            self.record,
            tally=Tally(
                episodes=len(CHUNK.episodes),
                episodes_with_rows=len(with_rows),
                episodes_rejected=len({line["episode"] for line in rejects if line["level"] == "episode"}),
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
    built = Built(made.record, made.build.rejects)
    built.write(made.rows())
    return built


def key(episode: str, number: int) -> str:
    return f"{PREFIX}{episode}/{episode.rsplit('/', 1)[-1]}_{number:06d}.mp3"


def row(episode: str, number: int) -> dict[str, Any]:
    return {"audio": {"path": key(episode, number), "bytes": b"audio"}}
