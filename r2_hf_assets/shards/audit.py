"""The ledger check: counts a built chunk again, independent of the counters of the build.

    planned episodes = episodes with rows + episodes rejected whole, and no episode is in both
    entries          = rows + rejected segments: in each episode their numbers are 0..n-1, each once

n is the number of entries in the episode's metadata. Rows are counted in the tables given to the Parquet writer, and
must be in plan order, then segment order. Rejects are counted in the finished ledger, read back. The rows in the parts'
footers and the build's tally must agree. The bytes are compared on the Hub after the commit, by size and SHA-256.
"""

from collections import Counter
from dataclasses import asdict

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.shards.record import BuildRecord, Tally
from r2_hf_assets.verdict import Problems, Verdict

_ROW, _REJECT = 1, 2


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

    def count_entries(self, episode: str, entries: int) -> None:
        self._places[self._order[episode]] = bytearray(entries)

    def count_rows(self, table: pa.Table) -> None:
        """Count the rows of a row group before it is written."""
        for batch in table.to_batches():
            keys, bodies = batch.column("audio").flatten()
            self._audio_bytes += pc.sum(pc.binary_length(bodies)).as_py() or 0
            for key in keys.to_pylist():
                self._rows += 1
                if (place := self._mark(key, _ROW)) is not None:
                    if place < self._last:
                        self.problems.add("row_out_of_order", key)
                    self._last = max(self._last, place)

    def count_rejects(self, content: bytes) -> None:
        """Count the rows of the finished ledger."""
        with pq.ParquetFile(pa.BufferReader(content)) as ledger:
            for batch in ledger.iter_batches(columns=["level", "episode", "key", "reason"]):
                for level, episode, key, reason in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                    self._reasons[reason] += 1
                    if level == "segment":
                        self._mark(key, _REJECT)
                    elif episode in self._order and key == self._chunk.metadata_key(episode):
                        self._rejected[episode] += 1
                    else:
                        self.problems.add("reject_not_planned", f"{level} {key} {reason}")

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
            counted = (_ROW in places) + self._rejected[episode]
            if counted != 1:
                self.problems.add("episode_twice" if counted else "episode_lost", episode)

    def tally(self, repaired_texts: int) -> Tally:
        """Return the tally that the build should have."""
        return Tally(
            episodes=len(self._chunk.episodes),
            episodes_with_rows=sum(_ROW in places for places in self._places),
            episodes_rejected=len(self._rejected),
            entries=sum(map(len, self._places)),
            rows=self._rows,
            segments_rejected=sum(places.count(_REJECT) for places in self._places),
            rejects=dict(self._reasons),
            repaired_texts=repaired_texts,
            audio_bytes=self._audio_bytes,
        )


def check_ledger(audit: Audit, record: BuildRecord, rejects: bytes | None) -> Verdict:
    """Check a build and its ledger's content against its audit, which can be used only once."""
    problems = audit.problems
    if rejects is not None:
        audit.count_rejects(rejects)
    audit.find_losses()
    counted = audit.tally(record.tally.repaired_texts)
    for name, count in asdict(counted).items():
        if (tallied := getattr(record.tally, name)) != count:
            problems.add("record_differs", f"{name}: the build counted {tallied}, {count} were written")
    written = sum(file.rows for file in record.files)
    if written != counted.rows:
        problems.add("rows_not_written", f"{counted.rows} rows were given to the writer, {written} are in its parts")
    numbers = {"episodes_planned": counted.episodes, "files": len(record.files), "bytes": record.bytes}
    excluded = ("episodes", "rejects", "repaired_texts")
    numbers |= {name: count for name, count in asdict(counted).items() if name not in excluded}
    good = (
        f"{counted.episodes} episodes = {counted.episodes_with_rows} with rows + {counted.episodes_rejected} rejected; "
        f"{counted.entries} entries = {counted.rows} rows + {counted.segments_rejected} rejected"
    )
    return problems.verdict(good, numbers)
