"""The ledger check: a built chunk audited from its files and the plan, not from the counters that built it.

    planned episodes = episodes with rows + episodes rejected whole, each in exactly one of the two
    entries          = rows + rejected segments: in each episode their numbers together are 0..n-1, none twice

It reads every row's key and the length of its audio, and every line of the rejects ledger, and holds one byte an entry
and one row-group slice. Rows must stand in plan order, then segment order. What the files can't tell, a last segment
that left no trace, the record does: its tally must agree with what was counted here.

The rejects ledger is hashed again. Shards are not: their SHA-256 was taken from the file as it was written, and the
upload takes it again and refuses a file that differs, so hashing them here (0.65 s a GB, against 0.3 s for all the
rest) would only find the same thing earlier.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from r2_hf_assets import activity
from r2_hf_assets.memory import release
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.shards.names import rejects_name, shard_names
from r2_hf_assets.shards.record import BuildRecord, ShardFile
from r2_hf_assets.shards.schema import REJECT_SCHEMA, SCHEMA
from r2_hf_assets.verdict import Findings, Verdict

_READ_BYTES = 2**20  # a page at a time; without it a row group's column is read at once
_BATCH_BYTES = 2**20  # small enough for memory that is used again: fresh pages took longer than all the rest
_REJECTS_BATCH = 10_000
_SUFFIX = ".mp3"
_MAX_DIGITS = 12
_ROW, _REJECT = 1, 2


def check_ledger(chunk: Chunk, record: BuildRecord, shards: Sequence[Path], rejects: Path | None) -> Verdict:
    """Audit a build of `chunk`, published or not.

    Args:
        shards: where the files of `record.files` lie, in their order.
        rejects: where the rejects ledger lies; None when there is none.
    """
    audit = _Audit(chunk, sum(file.rows for file in (*record.files, record.rejects) if file))
    _check_names(record, shards, rejects, audit)
    for file, path in zip(record.files, shards, strict=False):
        with audit.reading(file.name):
            _read_shard(file, path, audit)
    if record.rejects and rejects:
        with audit.reading(record.rejects.name):
            _read_rejects(record.rejects, rejects, audit)
    if audit.whole:  # of a file that can't be read nobody knows what it held
        audit.find_losses()
        _check_record(record, audit)
    numbers = audit.numbers() | {"files": len(shards), "bytes": record.bytes}
    release()
    good = (
        f"{numbers['episodes_planned']} episodes = {numbers['episodes_with_rows']} with rows + "
        f"{numbers['episodes_rejected']} rejected; {numbers['entries']} entries = {numbers['rows']} rows + "
        f"{numbers['segments_rejected']} rejected"
    )
    return audit.findings.verdict(good, numbers)


@dataclass
class _Audit:
    """What the files hold, by episode of the plan: a byte an entry, that is a row, a reject, or nothing.

    `limit` is how many entries there are in all; no segment's number can reach it.
    """

    chunk: Chunk
    limit: int
    findings: Findings = field(default_factory=Findings)
    whole: bool = True
    rows: int = 0
    audio_bytes: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._order = {episode: index for index, episode in enumerate(self.chunk.episodes)}
        self._places = [bytearray() for _ in self.chunk.episodes]
        self._rejected = bytearray(len(self.chunk.episodes))
        self._last = (-1, -1)

    @contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """Note a file that can't be read."""
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            self.unusable("file_unreadable", f"{name}: {type(error).__name__}")

    def unusable(self, kind: str, example: str) -> None:
        self.whole = False
        self.findings.add(kind, example)

    def row(self, key: str | None) -> None:
        self.rows += 1
        place = self._place(key)
        if place is None:
            self.findings.add("row_not_planned", str(key))
            return
        if self._mark(place, _ROW, key) and place < self._last:
            self.findings.add("row_out_of_order", str(key))
        self._last = max(self._last, place)

    def reject(self, level: str, episode: str, key: str, reason: str) -> None:
        self.reasons[reason] += 1
        index = self._order.get(episode)
        if level == "episode" and index is not None and key == self.chunk.metadata_key(episode) and reason:
            if self._rejected[index]:
                self.findings.add("episode_rejected_twice", episode)
            self._rejected[index] = 1
            return
        place = self._place(key)
        if level != "segment" or index is None or place is None or place[0] != index or not reason:
            self.findings.add("reject_not_planned", f"{level} {key} {reason}")
            return
        self._mark(place, _REJECT, key)

    def _place(self, key: str | None) -> tuple[int, int] | None:
        """(episode's place in the plan, segment's number) of an audio key; None when the plan has no such key."""
        episode = (key or "").rpartition("/")[0].removeprefix(self.chunk.prefix)
        index = self._order.get(episode)
        if key is None or index is None:
            return None
        prefix = self.chunk.audio_prefix(episode)
        digits = key[len(prefix) : -len(_SUFFIX)]
        if not (digits.isdecimal() and len(digits) <= _MAX_DIGITS):
            return None
        number = int(digits)
        return (index, number) if key == f"{prefix}{number:06d}{_SUFFIX}" else None

    def _mark(self, place: tuple[int, int], kind: int, key: str | None) -> bool:
        """Put an entry in its place. False when something is there already."""
        index, number = place
        if number >= self.limit:
            self.findings.add("segment_number_too_high", str(key))
            return True
        places = self._places[index]
        if number >= len(places):
            places.extend(bytes(number + 1 - len(places)))
        if places[number]:
            self.findings.add("row_twice" if places[number] == kind == _ROW else "segment_twice", str(key))
            return False
        places[number] = kind
        return True

    def find_losses(self) -> None:
        """What the plan has and the files have not."""
        for episode, places, rejected in zip(self.chunk.episodes, self._places, self._rejected, strict=True):
            if lost := places.count(0):
                self.findings.add("segment_lost", f"{episode} segment {places.index(0)}", lost)
            rows = places.count(_ROW)
            if rows and rejected:
                self.findings.add("episode_with_rows_and_rejected", episode)
            elif not rows and not rejected:
                self.findings.add("episode_lost", episode)

    def numbers(self) -> dict[str, Any]:
        rejected = sum(places.count(_REJECT) for places in self._places)
        return {
            "episodes_planned": len(self.chunk.episodes),
            "episodes_with_rows": sum(_ROW in places for places in self._places),
            "episodes_rejected": sum(self._rejected),
            "entries": self.rows + rejected,
            "rows": self.rows,
            "segments_rejected": rejected,
            "audio_bytes": self.audio_bytes,
        }


def _check_names(record: BuildRecord, shards: Sequence[Path], rejects: Path | None, audit: _Audit) -> None:
    chunk, names = audit.chunk, [file.name for file in record.files]
    if (record.language, record.number, record.digest) != (chunk.language, chunk.number, chunk.digest):
        audit.findings.add("record_of_another_chunk", f"{record.language} {record.number} {record.digest}")
    ledger = record.rejects.name if record.rejects else rejects_name(chunk.number)
    if [*names, ledger] != [*shard_names(chunk.number, len(shards)), rejects_name(chunk.number)]:
        audit.findings.add("file_names", f"{names} and {ledger} for {len(shards)} files")
    if (record.rejects is None) != (rejects is None):
        audit.findings.add("rejects_ledger", "recorded but absent" if rejects is None else "present but unrecorded")


def _read_shard(file: ShardFile, path: Path, audit: _Audit) -> None:
    with pq.ParquetFile(path, buffer_size=_READ_BYTES, pre_buffer=False) as parquet:
        _check_size(file, path, parquet, audit)
        if not parquet.schema_arrow.equals(SCHEMA):
            audit.unusable("schema", f"{file.name}: {', '.join(map(str, parquet.schema_arrow))}")
            return
        if parquet.schema_arrow.metadata != SCHEMA.metadata:
            audit.findings.add("features", f"{file.name}: the schema metadata is not the dataset's")
        for index in range(parquet.num_row_groups):
            group = parquet.metadata.row_group(index)
            batch = max(1, _BATCH_BYTES * group.num_rows // max(1, group.total_byte_size))
            for rows in parquet.iter_batches(batch, [index], ["audio"], use_threads=False):
                _read_rows(rows, audit)


def _read_rows(rows: pa.RecordBatch, audit: _Audit) -> None:
    activity.advance()
    keys, bodies = rows.column(0).flatten()
    for key in keys.to_pylist():
        audit.row(key)
    lengths = pc.binary_length(bodies)
    audit.audio_bytes += pc.sum(lengths).as_py() or 0
    if lengths.null_count or pc.min(lengths).as_py() == 0:
        for key, length in zip(keys.to_pylist(), lengths.to_pylist(), strict=True):
            if not length:
                audit.findings.add("audio_empty", str(key))


def _read_rejects(file: ShardFile, path: Path, audit: _Audit) -> None:
    with path.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
            audit.findings.add("file_changed", f"{file.name}: its SHA-256 is not the record's")
    with pq.ParquetFile(path) as parquet:
        _check_size(file, path, parquet, audit)
        if not parquet.schema_arrow.equals(REJECT_SCHEMA):
            audit.unusable("schema", f"{file.name}: {', '.join(map(str, parquet.schema_arrow))}")
            return
        for rows in parquet.iter_batches(_REJECTS_BATCH, columns=["level", "episode", "key", "reason"]):
            for line in zip(*(column.to_pylist() for column in rows.columns), strict=True):
                audit.reject(*line)


def _check_size(file: ShardFile, path: Path, parquet: pq.ParquetFile, audit: _Audit) -> None:
    there = (parquet.metadata.num_rows, path.stat().st_size)
    if there != (file.rows, file.size):
        example = f"{file.name}: {file.rows} rows in {file.size} bytes are recorded, {there[0]} in {there[1]} are there"
        audit.findings.add("file_changed", example)


def _check_record(record: BuildRecord, audit: _Audit) -> None:
    """The build's own tally, against what the files hold."""
    tally, numbers = record.tally, audit.numbers()
    counted = {
        "episodes": numbers["episodes_planned"],
        "rejects": dict(audit.reasons),
        **{name: numbers[name] for name in ("episodes_with_rows", "episodes_rejected", "entries", "rows")},
        **{name: numbers[name] for name in ("segments_rejected", "audio_bytes")},
    }
    for name, here in counted.items():
        told = getattr(tally, name)
        if told != here:
            audit.findings.add("record_differs", f"{name}: the record says {told}, the files {here}")
