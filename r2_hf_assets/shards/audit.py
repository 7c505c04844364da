"""The ledger check: counts a built chunk again, independent of the counters of the build.

    planned episodes = episodes with rows + episodes without, each with an entry or a reject of its own, never both
    entries          = rows + rejected segments: in each episode their numbers are 0..n-1, each once

n is the number of entries in the episode's metadata. Rows are counted in the tables given to the Parquet writer, and
must be in plan order, then segment order. Rejects are counted in the finished index, read back; its rows must have the
same keys in the same order. The rows in the parts' footers and the build's tally must agree. The bytes are compared on
the Hub after the commit, by size and SHA-256.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from xxhash import xxh3_64

from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.plural import plural
from r2_hf_assets.shards.record import BuildRecord, Tally
from r2_hf_assets.verdict import Problems, Verdict

_ROW, _REJECT = 1, 2
Place = tuple[Any, ...]  # file, row group of the file, row of the row group


class Audit:
    """For each entry of each episode, one byte: row, reject or, if 0, lost."""

    def __init__(self, chunk: ChunkManifest) -> None:
        self.problems = Problems()
        self._chunk = chunk
        self._order = {episode: index for index, episode in enumerate(chunk.episodes)}
        self._places = [bytearray() for _ in chunk.episodes]
        self._last = (-1, -1)
        self._rows = self._audio_bytes = 0
        self._rejected, self._reasons = Counter[str](), Counter[str]()
        self._keys, self._files = xxh3_64(), Counter[str]()

    def count_entries(self, episode: str, entries: int) -> None:
        self._places[self._order[episode]] = bytearray(entries)

    def count_rows(self, table: pa.Table) -> None:
        """Count the rows of a row group before it is written."""
        for batch in table.to_batches():
            keys, bodies = batch.column("audio").flatten()
            self._audio_bytes += pc.sum(pc.binary_length(bodies)).as_py() or 0
            listed = keys.to_pylist()
            self._keys.update(_lines(listed))
            for key in listed:
                self._rows += 1
                if (place := self._mark(key, _ROW)) is not None:
                    if place < self._last:
                        self.problems.add("row_out_of_order", key)
                    self._last = max(self._last, place)

    def count_index(self, content: bytes) -> None:
        """Count the rejects of the finished index, and compare its rows with those counted."""
        keys, last = xxh3_64(), ("", 0, -1)
        names = ["episode", "segment", "key", "file", "reject_reason", "row_group", "row"]
        with pq.ParquetFile(pa.BufferReader(content)) as index:
            for batch in index.iter_batches(columns=names):
                batch = batch.select(names)
                rows = batch.filter(pc.is_null(batch["reject_reason"]))
                listed = rows["key"].to_pylist()
                keys.update(_lines(listed))
                self._files.update({one["values"]: one["counts"] for one in rows["file"].value_counts().to_pylist()})
                for episode, number, key, *place in zip(*_values(rows, 0, 1, 2, 3, 5, 6), strict=True):
                    if None in (episode, number) or key != self._chunk.audio_key(episode, number):
                        self.problems.add("index_differs", f"{key} is listed as {episode} segment {number}")
                    last = self._check_place(key, last, tuple(place))
                rejects = batch.filter(pc.is_valid(batch["reject_reason"]))
                for episode, number, key, file, reason in zip(*_values(rejects, 0, 1, 2, 3, 4), strict=True):
                    self._reasons[reason] += 1
                    if number is not None and file is None:
                        self._mark(key, _REJECT)
                    elif file is None and episode in self._order and key == self._chunk.metadata_key(episode):
                        self._rejected[episode] += 1
                    else:
                        self.problems.add("reject_not_planned", f"{key} {reason}")
        if keys.digest() != self._keys.digest():
            self.problems.add("index_differs", "its rows are not those that were written")

    def _check_place(self, key: str, last: Place, place: Place) -> Place:
        """Add a problem unless a row's (file, row group, row) follows the last one's; return it."""
        file, group, row = last
        if None in place:
            self.problems.add("index_differs", f"{key} is a row without a place")
            return last
        if place not in ((file, group, row + 1), (file, group + 1, 0)) and (place[0] == file or place[1:] != (0, 0)):
            self.problems.add("index_differs", f"{key} is placed in {place} after {last}")
        return place

    def key_of(self, row: int) -> str:
        """Return the audio key of a row by its index in the chunk."""
        for episode, places in zip(self._chunk.episodes, self._places, strict=True):
            if row < (rows := places.count(_ROW)):
                number = [number for number, kind in enumerate(places) if kind == _ROW][row]
                return self._chunk.audio_key(episode, number)
            row -= rows
        raise IndexError(row)

    def _mark(self, key: str, kind: int) -> tuple[int, int] | None:
        """Mark an entry and return its place. None, with a problem, when it is unknown or already marked."""
        place = self._place(key)
        if place is None:
            self.problems.add("row_not_planned" if kind == _ROW else "reject_not_planned", key)
            return None
        index, number = place
        if self._places[index][number]:
            self.problems.add("segment_twice", key)
            return None
        self._places[index][number] = kind
        return place

    def _place(self, key: str) -> tuple[int, int] | None:
        """Return (index of the episode in the plan, number of the segment) of an audio key."""
        episode = key.rpartition("/")[0].removeprefix(self._chunk.prefix)
        if (index := self._order.get(episode)) is None:
            return None
        digits = key.removeprefix(self._chunk.audio_prefix(episode)).partition(".")[0]
        number = int(digits) if digits.isdecimal() else -1
        known = 0 <= number < len(self._places[index]) and key == self._chunk.audio_key(episode, number)
        return (index, number) if known else None

    def find_losses(self) -> None:
        """Add problems for entries and episodes that are in no file."""
        for episode, places in zip(self._chunk.episodes, self._places, strict=True):
            if lost := places.count(0):
                self.problems.add("segment_lost", f"{episode} segment {places.index(0)}", lost)
            counted = bool(places) + self._rejected[episode]
            if counted != 1:
                self.problems.add("episode_twice" if counted else "episode_lost", episode)

    def tally(self, repaired_texts: int) -> Tally:
        """Return the tally that the build should have."""
        return Tally(
            episodes=len(self._chunk.episodes),
            episodes_with_rows=sum(_ROW in places for places in self._places),
            episodes_rejected=sum(_ROW not in places for places in self._places),
            entries=sum(map(len, self._places)),
            rows=self._rows,
            segments_rejected=sum(places.count(_REJECT) for places in self._places),
            rejects=dict(self._reasons),
            repaired_texts=repaired_texts,
            audio_bytes=self._audio_bytes,
        )

    def files(self) -> Mapping[str, int]:
        """Return the number of rows that the index places in each file."""
        return self._files


def _values(batch: pa.RecordBatch, *columns: int) -> list[list[Any]]:
    return [batch.column(number).to_pylist() for number in columns]


def _lines(keys: Iterable[str]) -> bytes:
    return "".join(f"{key}\n" for key in keys).encode()


def check_ledger(audit: Audit, record: BuildRecord, index: bytes) -> Verdict:
    """Check a build and its index's content against its audit, which can be used only once."""
    problems = audit.problems
    audit.count_index(index)
    audit.find_losses()
    counted = audit.tally(record.tally.repaired_texts)
    for name, count in asdict(counted).items():
        if (tallied := getattr(record.tally, name)) != count:
            problems.add("record_differs", f"{name}: the build counted {tallied}, {count} were written")
    written = sum(file.rows for file in record.files)
    if written != counted.rows:
        problems.add("rows_not_written", f"{counted.rows} rows were given to the writer, {written} are in its parts")
    if audit.files() != {file.path: file.rows for file in record.files}:
        problems.add("index_differs", "the rows of its files are not those of the parts")
    numbers = {"episodes_planned": counted.episodes, "files": len(record.files), "bytes": record.bytes}
    excluded = ("episodes", "rejects", "repaired_texts")
    numbers |= {name: count for name, count in asdict(counted).items() if name not in excluded}
    good = (
        f"{plural(counted.episodes, 'episode')} = {counted.episodes_with_rows} with rows "
        f"+ {counted.episodes_rejected} rejected; {plural(counted.entries, 'entry', 'entries')} = "
        f"{plural(counted.rows, 'row')} + {counted.segments_rejected} rejected"
    )
    return problems.verdict(good, numbers)
