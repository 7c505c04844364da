"""Looks at each row group just before it is written, for the figures, the checks and the pictures of a chunk.

The one moment at which a row's audio lies in memory beside its metadata: whatever needs both is taken down here, so
that no file is read again for it. It costs 2 to 3 microseconds a row. What is kept does not grow with the bytes:
counts, eight bytes a row (to find equal audio), a few rows whose audio is to be decoded, and a time for each row group.

The sample is chosen by the chunk's digest and the rows' places, so the same input gives the same sample, and each row
has the same chance whatever its neighbours are like.
"""

import heapq
import random
import time
from array import array
from dataclasses import dataclass, field
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest

from r2_hf_assets.shards.columns import floats
from r2_hf_assets.shards.stats import MAX_DURATION_S, Counting, Speaker

# Three frames of MP3 at 24 kHz; no word fits into it.
MIN_DURATION_S = 0.1
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


@dataclass
class ValueCounts:
    """How many values break a rule. `impossible` are such as no input gives: the row was spoilt on its way."""

    rows: int = 0
    duration_null: int = 0
    duration_short: int = 0
    duration_long: int = 0
    dnsmos_null: int = 0
    dnsmos_low: int = 0
    dnsmos_high: int = 0
    impossible: int = 0
    text_null: int = 0
    text_blank: int = 0


@dataclass(frozen=True)
class Observed:
    """What was taken down of a build.

    Attributes:
        hashes: XXH3 of each row's audio, 64 bits, in the order of the rows.
        pace: (seconds since the build began, audio bytes so far), after each row group.
    """

    counts: ValueCounts
    sample: tuple[Sampled, ...]
    hashes: array
    pace: tuple[tuple[float, int], ...]
    speakers_top: tuple[Speaker, ...]


@dataclass
class Observer:
    """Takes the tables of one build, in their order."""

    digest: str
    counting: Counting = field(default_factory=Counting)

    def __post_init__(self) -> None:
        self._started = time.monotonic()
        self._counts = ValueCounts()
        self._random = random.Random(self.digest).random
        # The rows with the lowest draws, the highest of them first.
        self._sample: list[tuple[float, int, Sampled]] = []
        self._sampled_bytes = 0
        self._hashes = array("Q")
        self._audio_bytes = 0
        self._pace: list[tuple[float, int]] = []

    def take(self, table: pa.Table) -> None:
        """Look at a row group; nothing of its buffers is kept."""
        self.counting.take(table)
        _test(table, self._counts)
        row = 0
        for chunk in table.column("audio").chunks:
            keys, bodies = chunk.flatten()
            offsets, data = parts_of(bodies)
            self._hash(offsets, data)
            self._draw(table, row, keys, offsets, data)
            row += len(chunk)
            self._audio_bytes += offsets[-1] - offsets[0]
        self._pace.append((time.monotonic() - self._started, self._audio_bytes))

    def _hash(self, offsets: memoryview, data: memoryview) -> None:
        self._hashes.extend(xxh3_64_intdigest(data[start:end]) for start, end in pairwise(offsets.tolist()))

    def _draw(self, table: pa.Table, first: int, keys: pa.Array, offsets: memoryview, data: memoryview) -> None:
        draw, sample, before = self._random, self._sample, len(self._hashes) - len(keys)
        for index in range(len(keys)):
            drawn = draw()
            if len(sample) == _SAMPLE_MOST and drawn >= -sample[0][0]:
                continue
            start, end = offsets[index], offsets[index + 1]
            if end - start > _SAMPLE_BYTES:
                continue
            duration = table.column("duration_seconds")[first + index].as_py()
            found = Sampled(keys[index].as_py(), duration, data[start:end].tobytes())
            heapq.heappush(sample, (-drawn, before + index, found))
            self._sampled_bytes += end - start
            while len(sample) > _SAMPLE_MOST or self._sampled_bytes > _SAMPLE_BYTES:
                self._sampled_bytes -= len(heapq.heappop(sample)[2].body)

    def observed(self) -> Observed:
        """What was taken down, once the last table was taken."""
        wanted = min(_SAMPLE_MOST, max(_SAMPLE_LEAST, len(self._hashes) // _ROWS_A_SAMPLE))
        sample = tuple(found for _, _, found in heapq.nlargest(wanted, self._sample))
        return Observed(self._counts, sample, self._hashes, tuple(self._pace), tuple(self.counting.speakers_top))


def parts_of(bodies: pa.Array) -> tuple[memoryview, memoryview]:
    """Where each body begins and the last one ends, and the bytes, of a binary array."""
    _, offsets, data = bodies.buffers()
    places = memoryview(offsets).cast("B").cast("i")[bodies.offset : bodies.offset + len(bodies) + 1]
    return places, memoryview(data).cast("B") if data else memoryview(b"")


def _test(table: pa.Table, counts: ValueCounts) -> None:
    duration, dnsmos, text = (table.column(name) for name in ("duration_seconds", "dnsmos", "text"))
    low, high = DNSMOS_RANGE
    counts.rows += table.num_rows
    counts.duration_null += duration.null_count
    counts.duration_short += _count(pc.less(duration, _float32(MIN_DURATION_S)))
    counts.duration_long += _count(pc.greater(duration, _float32(MAX_DURATION_S)))
    counts.dnsmos_null += dnsmos.null_count
    counts.dnsmos_low += _count(pc.less(dnsmos, _float32(low)))
    counts.dnsmos_high += _count(pc.greater(dnsmos, _float32(high)))
    for column in (duration, dnsmos):
        counts.impossible += len(column) - column.null_count - _count(pc.is_finite(column))
    counts.impossible += _count(pc.and_(pc.is_finite(duration), pc.less(duration, _float32(0.0))))
    counts.text_null += text.null_count
    letters = pc.binary_length(pc.utf8_trim_whitespace(text))
    counts.text_blank += len(letters) - letters.null_count - _count(pc.cast(letters, pa.bool_()))


def _count(true: pa.ChunkedArray) -> int:
    return pc.sum(true).as_py() or 0


def _float32(value: float) -> pa.Scalar:
    return floats([value])[0]  # pa.scalar imports pandas
