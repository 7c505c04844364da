"""Looks at each row group just before it is written, for the figures and the checks of a chunk.

The one moment at which a row's audio lies in memory beside its metadata: whatever needs both is taken down here, so
that no file is read again for it. It costs 2 to 3 microseconds a row. What is kept does not grow with the bytes:
counts, the speakers' names, eight bytes a row (to find equal audio), and a few rows whose audio is to be decoded.

These are the rows whose audio has the lowest hashes: the same input gives the same sample, and each row has the same
chance whatever its neighbours are like.
"""

import math
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import accumulate, pairwise

import pyarrow as pa
from xxhash import xxh3_64_intdigest

from r2_hf_assets.shards.stats import DNSMOS_EDGES, DURATION_EDGES_S, Stats

# Three frames of MP3 at 24 kHz; no word fits into it. As float32, like the column.
MIN_DURATION_S = array("f", [0.1])[0]
# Segments are turns of a talk. Milliseconds taken for seconds make more than this of 4 s: a broken time stamp, which is
# in no sum of seconds, because one of them would drown the hours of the whole dataset.
MAX_DURATION_S = 3600.0
DNSMOS_RANGE = (1.0, 5.0)

# Rows to decode: one in a hundred, so that a small chunk does not pay more for this check than for its rows.
_SAMPLE_LEAST, _SAMPLE_MOST, _ROWS_A_SAMPLE = 4, 24, 100
_SAMPLE_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Sampled:
    """A row whose audio is to be decoded."""

    key: str
    duration: float | None
    body: bytes


@dataclass(frozen=True)
class Observed:
    """What was taken down of a build.

    Attributes:
        counts: rows, and values that break a rule, by the names that quality.py has for them.
        hashes: XXH3 of each row's audio, 64 bits, in the order of the rows.
    """

    stats: Stats
    counts: Counter[str]
    sample: tuple[Sampled, ...]
    hashes: "array[int]"


class Observer:
    """Takes the tables of one build, in their order."""

    def __init__(self) -> None:
        self._counts = Counter[str]()
        self._durations = [0] * (len(DURATION_EDGES_S) + 1)
        self._dnsmos = [0] * (len(DNSMOS_EDGES) + 1)
        self._seconds = 0.0
        self._episodes, self._speakers = set[str](), set[tuple[str, str]]()
        self._hashes = array("Q")
        self._sample: list[tuple[int, int, Sampled]] = []

    def take(self, table: pa.Table) -> None:
        """Look at a row group; nothing of its buffers is kept."""
        counts, durations = self._counts, table.column("duration_seconds").to_pylist()
        counts["rows"] += table.num_rows
        for seconds in durations:
            if self._place("duration", seconds, DURATION_EDGES_S, self._durations):
                counts["duration_short"] += seconds < MIN_DURATION_S
                counts["duration_long"] += seconds > MAX_DURATION_S
                counts["impossible"] += seconds < 0
                self._seconds += seconds if 0 <= seconds <= MAX_DURATION_S else 0
        for score in table.column("dnsmos").to_pylist():
            if self._place("dnsmos", score, DNSMOS_EDGES, self._dnsmos):
                counts["dnsmos_low"] += score < DNSMOS_RANGE[0]
                counts["dnsmos_high"] += score > DNSMOS_RANGE[1]
        for text in table.column("text").to_pylist():
            if not text or text.isspace():
                counts["text_null" if text is None else "text_blank"] += 1
        keys = self._take_audio(table.column("audio"), durations)
        for key, speaker in zip(keys, table.column("speaker_id").to_pylist(), strict=True):
            episode = key.rpartition("/")[0]
            self._episodes.add(episode)
            if speaker is not None:
                self._speakers.add((episode, speaker))

    def _place(self, name: str, value: float | None, edges: Sequence[float], bins: list[int]) -> bool:
        """Count a value in its bin, or as what it is instead of a number. Gives whether it is one."""
        if value is None:
            self._counts[f"{name}_null"] += 1
        elif not math.isfinite(value):
            self._counts["impossible"] += 1
        else:
            bins[bisect_right(edges, value)] += 1
            return True
        return False

    def _take_audio(self, column: pa.ChunkedArray, durations: Sequence[float | None]) -> list[str]:
        """Hash each row's audio and keep what is to be decoded. Gives the keys."""
        found: list[str] = []
        for chunk in column.chunks:
            keys, bodies = chunk.flatten()
            offsets, data = _parts_of(bodies)
            hashes = [xxh3_64_intdigest(data[start:end]) for start, end in pairwise(offsets)]
            small = ((h, i) for i, h in enumerate(hashes) if offsets[i + 1] - offsets[i] <= _SAMPLE_BYTES)
            for drawn, index in nsmallest(_SAMPLE_MOST, small):
                body = data[offsets[index] : offsets[index + 1]].tobytes()
                row = Sampled(keys[index].as_py(), durations[len(found) + index], body)
                self._sample.append((drawn, len(self._hashes) + index, row))
            self._hashes.extend(hashes)
            found += keys.to_pylist()
            lowest = sorted(self._sample, key=lambda kept: kept[:2])[:_SAMPLE_MOST]
            sizes = accumulate(len(row.body) for *_, row in lowest)
            self._sample = [kept for kept, size in zip(lowest, sizes, strict=True) if size <= _SAMPLE_BYTES]
        return found

    def observed(self) -> Observed:
        """What was taken down, once the last table was taken."""
        stats = Stats(
            rows=self._counts["rows"],
            episodes=len(self._episodes),
            audio_seconds=round(self._seconds, 3),
            speakers=len(self._speakers),
            duration_s=tuple(self._durations),
            dnsmos=tuple(self._dnsmos),
        )
        wanted = min(_SAMPLE_MOST, max(_SAMPLE_LEAST, len(self._hashes) // _ROWS_A_SAMPLE))
        return Observed(stats, self._counts, tuple(row for *_, row in self._sample[:wanted]), self._hashes)


def _parts_of(bodies: pa.Array) -> tuple[list[int], memoryview]:
    """Where each body begins and the last one ends, and the bytes, of a binary array."""
    _, offsets, data = bodies.buffers()
    places = memoryview(offsets).cast("B").cast("i")[bodies.offset : bodies.offset + len(bodies) + 1]
    return places.tolist(), memoryview(data).cast("B") if data else memoryview(b"")
