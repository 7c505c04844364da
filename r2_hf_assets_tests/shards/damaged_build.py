"""A built chunk with a bit of everything, that tests of the ledger check damage.

Damage is done to real files, and the record is made to agree with them (sizes, hashes, counters), as a builder with a
fault would write it: so what is found is found in the files.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from obstore.store import MemoryStore

from r2_hf_assets.shards.build import build_chunk
from r2_hf_assets.shards.record import BuildRecord, ShardFile, Tally
from r2_hf_assets.shards.schema import REJECT_SCHEMA, SCHEMA, WRITER_OPTIONS
from r2_hf_assets.shards.verify import check_ledger
from r2_hf_assets.verdict import Severity, Verdict
from r2_hf_assets_tests.build_samples import NO_WAIT, PREFIX, chunk_of, entry, limits, put_episode

# Several parts of several row groups, segments rejected in three episodes, and two episodes rejected whole.
CHUNK = chunk_of("en/a", "en-US/a", "en/none", "en/lost", "en/b")
ROWS = 9 + 6 + 10

Lines = list[dict[str, Any]]


@dataclass
class Built:
    """A build that a test may damage."""

    record: BuildRecord
    shards: list[Path]
    rejects: Path | None

    def check(self) -> Verdict:
        return check_ledger(CHUNK, self.record, self.shards, self.rejects)

    def kinds(self) -> dict[str, int]:
        verdict = self.check()
        assert not verdict.passed and verdict.severity is Severity.ERROR
        assert verdict.numbers["problems"] == sum(verdict.numbers["problems_by_kind"].values())
        return verdict.numbers["problems_by_kind"]

    def rows(self) -> Lines:
        return [row for path in self.shards for row in pq.read_table(path).to_pylist()]

    def write(self, rows: Lines, schema: pa.Schema = SCHEMA) -> None:
        """Put these rows, all into the first file, and make the record agree."""
        names = [file.name for file in self.record.files]
        self.shards = self.shards[:1]
        options = WRITER_OPTIONS if schema.equals(SCHEMA) else {}
        pq.write_table(pa.Table.from_pylist(rows, schema), self.shards[0], **options)
        single = names[0].replace("-part-00", "")
        self.record = replace(self.record, files=(file_of(single, self.shards[0], len(rows)),))

    def write_rejects(self, lines: Lines, schema: pa.Schema = REJECT_SCHEMA) -> None:
        assert self.rejects is not None and self.record.rejects is not None
        pq.write_table(pa.Table.from_pylist(lines, schema), self.rejects)
        self.record = replace(self.record, rejects=file_of(self.record.rejects.name, self.rejects, len(lines)))

    def reject_lines(self) -> Lines:
        return pq.read_table(self.rejects).to_pylist()

    def count_again(self) -> None:
        """Counters that agree with the damage."""
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
                entries=len(rows) + segments,
                rows=len(rows),
                segments_rejected=segments,
                rejects={reason: reasons.count(reason) for reason in reasons},
                audio_bytes=sum(len(row["audio"]["bytes"] or b"") for row in rows),
            ),
        )


def file_of(name: str, path: Path, rows: int) -> ShardFile:
    data = path.read_bytes()
    return ShardFile(name, rows, len(data), hashlib.sha256(data).hexdigest())


def build(folder: Path) -> Built:
    """CHUNK, built into `folder`."""
    bucket = MemoryStore()
    put_episode(bucket, "en/a", 10, size=5000, without=[3])
    put_episode(bucket, "en-US/a", [*(entry(index) for index in range(6)), "no object"], size=5000)
    put_episode(bucket, "en/none", [])
    put_episode(bucket, "en/lost", 2, without=[0, 1])
    put_episode(bucket, "en/b", 10, size=5000)
    settings = limits(folder, max_bytes=60_000, rowgroup_bytes=20_000)
    made = build_chunk(CHUNK, bucket, folder, settings, workers=4, retry=NO_WAIT)
    return Built(made.record, [part.path for part in made.parts], made.rejects_path)


def key(episode: str, number: int) -> str:
    return f"{PREFIX}{episode}/{episode.rsplit('/', 1)[-1]}_{number:06d}.mp3"


def row(episode: str, number: int) -> dict[str, Any]:
    return {"audio": {"path": key(episode, number), "bytes": b"audio"}}
