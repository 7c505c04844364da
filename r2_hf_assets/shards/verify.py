"""The ledger check: a built chunk counted again where its bytes leave, and not by the counters that built it.

    planned episodes = episodes with rows + episodes rejected whole, each in exactly one of the two
    entries          = rows + rejected segments: in each episode their numbers together are 0..n-1, none twice

n is what the episode's metadata held. The rows are those of the very tables that the Parquet writer was given, the
rejects those of the finished ledger, read back; and each part's footer, as it was written, must name these rows in row
groups that begin and end where the writer was when it was given them. Rows must stand in plan order, then segment
order. The build's own tally must agree with all that.

No file is read back from a disk: there is none. What is on the Hub is compared by size and SHA-256 after the commit.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets.shards.schema import REJECT_SCHEMA, SCHEMA
from r2_hf_assets.shards.writer import Group, Part
from r2_hf_assets.verdict import Findings, Verdict

_MAGIC = b"PAR1"
_SUFFIX = ".mp3"
_MAX_DIGITS = 12
_ROW, _REJECT = 1, 2


@dataclass
class Audit:
    """What the metadata held, and what was written of it, by episode of the plan: a byte an entry, that is a row, a
    reject, or nothing."""

    chunk: Chunk
    findings: Findings = field(default_factory=Findings)
    rows: int = 0
    audio_bytes: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._order = {episode: index for index, episode in enumerate(self.chunk.episodes)}
        self._places = [bytearray() for _ in self.chunk.episodes]
        self._rejected = bytearray(len(self.chunk.episodes))
        self._last = (-1, -1)

    def read(self, episode: str, entries: int) -> None:
        """An episode's metadata was read."""
        self._places[self._order[episode]] = bytearray(entries)

    def given(self, table: pa.Table) -> None:
        """A row group is given to the Parquet writer."""
        for part in table.column("audio").chunks:
            keys, bodies = part.flatten()
            named = keys.to_pylist()
            for key in named:
                self._row(key)
            lengths = pc.binary_length(bodies)
            self.audio_bytes += pc.sum(lengths).as_py() or 0
            if lengths.null_count or pc.min(lengths).as_py() == 0:
                for key, length in zip(named, lengths.to_pylist(), strict=True):
                    if not length:
                        self.findings.add("audio_empty", str(key))

    def key_of(self, row: int) -> str:
        """The audio key of a row, by its place in the chunk."""
        for episode, places in zip(self.chunk.episodes, self._places, strict=True):
            if row < (rows := places.count(_ROW)):
                number = [number for number, kind in enumerate(places) if kind == _ROW][row]
                return f"{self.chunk.audio_prefix(episode)}{number:06d}{_SUFFIX}"
            row -= rows
        raise IndexError(row)

    def _row(self, key: str | None) -> None:
        self.rows += 1
        place = self._place(key)
        if place is None:
            self.findings.add("row_not_planned", str(key))
            return
        if self._mark(place, _ROW, key) and place < self._last:
            self.findings.add("row_out_of_order", str(key))
        self._last = max(self._last, place)

    def reject(self, level: str, episode: str, key: str, reason: str) -> None:
        """A line of the ledger."""
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
        places = self._places[index]
        if number >= len(places):
            self.findings.add("segment_number_too_high", str(key))
            return True
        if places[number]:
            self.findings.add("row_twice" if places[number] == kind == _ROW else "segment_twice", str(key))
            return False
        places[number] = kind
        return True

    def find_losses(self) -> None:
        """What the plan and the metadata have, and the files have not."""
        for episode, places, rejected in zip(self.chunk.episodes, self._places, self._rejected, strict=True):
            if lost := places.count(0):
                self.findings.add("segment_lost", f"{episode} segment {places.index(0)}", lost)
            rows = places.count(_ROW)
            if rows and rejected:
                self.findings.add("episode_with_rows_and_rejected", episode)
            elif not rows and not rejected:
                self.findings.add("episode_lost", episode)

    def numbers(self) -> dict[str, Any]:
        return {
            "episodes_planned": len(self.chunk.episodes),
            "episodes_with_rows": sum(_ROW in places for places in self._places),
            "episodes_rejected": sum(self._rejected),
            "entries": sum(map(len, self._places)),
            "rows": self.rows,
            "segments_rejected": sum(places.count(_REJECT) for places in self._places),
            "audio_bytes": self.audio_bytes,
        }


def check_ledger(audit: Audit, record: BuildRecord, parts: Sequence[Part], rejects: bytes | None) -> Verdict:
    """Audit a build.

    Args:
        audit: what was seen while it was made; it is used up.
        parts: the files of `record.files`, in their order.
        rejects: the content of the rejects ledger; None when there is none.
    """
    findings = audit.findings
    for file, part in zip(record.files, parts, strict=True):
        _check_footer(file.name, part, findings)
    written = sum(part.rows for part in parts)
    if written != audit.rows:
        findings.add("rows_not_written", f"{audit.rows} rows were given to the writer, {written} are in its parts")
    if rejects is not None:
        _read_rejects(rejects, audit)
    audit.find_losses()
    _check_tally(record, audit)
    numbers = audit.numbers() | {"files": len(parts), "bytes": record.bytes}
    good = (
        f"{numbers['episodes_planned']} episodes = {numbers['episodes_with_rows']} with rows + "
        f"{numbers['episodes_rejected']} rejected; {numbers['entries']} entries = {numbers['rows']} rows + "
        f"{numbers['segments_rejected']} rejected"
    )
    return findings.verdict(good, numbers)


def _check_footer(name: str, part: Part, findings: Findings) -> None:
    """The footer's own bytes, against what the writer was given and when."""
    try:
        footer = pq.read_metadata(pa.BufferReader(part.footer))
        schema = footer.schema.to_arrow_schema()
    except (pa.ArrowException, OSError) as error:
        findings.add("footer_unreadable", f"{name}: {type(error).__name__}")
        return
    if not schema.equals(SCHEMA):
        findings.add("schema", f"{name}: {', '.join(map(str, schema))}")
    elif schema.metadata != SCHEMA.metadata:
        findings.add("features", f"{name}: the schema metadata is not the dataset's")
    given = list(part.groups)
    told = [_extent(footer.row_group(index)) for index in range(footer.num_row_groups)]
    if told != given:
        wrong = next((pair for pair in zip(told, given, strict=False) if pair[0] != pair[1]), (len(told), len(given)))
        findings.add("row_groups", f"{name}: the footer names {wrong[0]} (rows, start, end), {wrong[1]} was written")
    # The file: magic, row groups without a gap, footer.
    places = [len(_MAGIC), *(place for _, start, end in given for place in (start, end)), part.size - len(part.footer)]
    if any(end != start for end, start in zip(places[::2], places[1::2], strict=True)):
        findings.add("row_groups", f"{name}: row groups do not follow each other: {places[:8]}")
    if footer.num_rows != part.rows or not part.footer.endswith(_MAGIC):
        findings.add("row_groups", f"{name}: the footer names {footer.num_rows} rows, {part.rows} were written")


def _extent(group: pq.RowGroupMetaData) -> Group:
    """Rows, and the offsets where a row group's columns begin and end; the end is -1 when there is a gap in between."""
    start = end = -1
    for index in range(group.num_columns):
        column = group.column(index)
        first = column.data_page_offset
        if column.has_dictionary_page and column.dictionary_page_offset:
            first = min(first, column.dictionary_page_offset)
        if start < 0:
            start = end = first
        if first != end:
            return Group(group.num_rows, start, -1)
        end = first + column.total_compressed_size
    return Group(group.num_rows, start, end)


def _read_rejects(content: bytes, audit: Audit) -> None:
    try:
        with pq.ParquetFile(pa.BufferReader(content)) as parquet:
            if not parquet.schema_arrow.equals(REJECT_SCHEMA):
                audit.findings.add("schema", f"rejects: {', '.join(map(str, parquet.schema_arrow))}")
                return
            for rows in parquet.iter_batches(columns=["level", "episode", "key", "reason"]):
                for line in zip(*(column.to_pylist() for column in rows.columns), strict=True):
                    audit.reject(*line)
    except (pa.ArrowException, OSError) as error:
        audit.findings.add("footer_unreadable", f"rejects: {type(error).__name__}")


def _check_tally(record: BuildRecord, audit: Audit) -> None:
    """The build's own tally, against what was counted here."""
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
            audit.findings.add("record_differs", f"{name}: the build counted {told}, {here} were written")
