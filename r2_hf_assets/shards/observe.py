"""Collects what the figures and the quality checks of a chunk need, from each row group before it is written.

Then a row's audio is in memory beside its metadata, so no file is read again. What is kept does not grow with the
bytes: counts, the speakers' names, eight bytes a row (to find equal audio), and a few rows whose audio is decoded
later. These are the rows whose audio has the lowest hashes: the same input gives the same sample.
"""

from array import array
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from xxhash import xxh3_64_intdigest

from r2_hf_assets.shards.stats import DNSMOS_EDGES, DURATION_EDGES_S, Stats

# Three frames of MP3 at 24 kHz; no word fits into it. As float32, like the column.
MIN_DURATION_S = array("f", [0.1])[0]
# A longer one is a broken time stamp (milliseconds taken for seconds), and in no sum: one of them would drown the hours
# of the whole dataset.
MAX_DURATION_S = 3600.0
DNSMOS_RANGE = (1.0, 5.0)

# Rows to decode: one in a hundred, so that a small chunk does not pay more for this check than for its rows.
_SAMPLE_LEAST, _SAMPLE_MOST, _ROWS_A_SAMPLE = 4, 24, 100
_SAMPLE_BODY_BYTES = 2**20

Values = Sequence[float | None]


@dataclass(frozen=True)
class Sampled:
    """A row whose audio is to be decoded."""

    key: str
    duration: float | None
    body: bytes


class Observer:
    """Takes the tables of one build, in their order.

    Attributes:
        counts: rows, and values that break a rule, by the names that quality.py has for them.
        hashes: XXH3 of each row's audio, 64 bits, in the order of the rows.
    """

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self.hashes = array("Q")
        self._durations = [0] * (len(DURATION_EDGES_S) + 1)
        self._dnsmos = [0] * (len(DNSMOS_EDGES) + 1)
        self._seconds = 0.0
        self._episodes, self._speakers = set[str](), set[tuple[str, str]]()
        self._sample: list[tuple[int, int, Sampled]] = []  # by the hash and the place of the row

    def take(self, table: pa.Table) -> None:
        """Look at a row group; nothing of its buffers is kept."""
        for batch in table.to_batches():
            keys, bodies = batch.column("audio").flatten()
            durations = batch.column("duration_seconds").to_pylist()
            speakers = batch.column("speaker_id").to_pylist()
            self.counts["rows"] += batch.num_rows
            self._take_values(durations, batch.column("dnsmos").to_pylist(), batch.column("text").to_pylist())
            for key, body, seconds, speaker in zip(keys.to_pylist(), bodies, durations, speakers, strict=True):
                self._take_audio(key, body.as_buffer(), seconds)
                episode = key.rpartition("/")[0]
                self._episodes.add(episode)
                if speaker is not None:
                    self._speakers.add((episode, speaker))

    def _take_values(self, durations: Values, scores: Values, texts: Sequence[str | None]) -> None:
        counts = self.counts
        for seconds in durations:
            if seconds is None:
                counts["duration_null"] += 1
                continue
            self._durations[bisect_right(DURATION_EDGES_S, seconds)] += 1
            counts["duration_short"] += seconds < MIN_DURATION_S
            counts["duration_long"] += seconds > MAX_DURATION_S
            self._seconds += seconds if seconds <= MAX_DURATION_S else 0
        for score in scores:
            if score is None:
                counts["dnsmos_null"] += 1
                continue
            self._dnsmos[bisect_right(DNSMOS_EDGES, score)] += 1
            counts["dnsmos_low"] += score < DNSMOS_RANGE[0]
            counts["dnsmos_high"] += score > DNSMOS_RANGE[1]
        for text in texts:
            if not text or text.isspace():
                counts["text_null" if text is None else "text_blank"] += 1

    def _take_audio(self, key: str, body: pa.Buffer, seconds: float | None) -> None:
        drawn, place = xxh3_64_intdigest(body), len(self.hashes)
        self.hashes.append(drawn)
        if body.size <= _SAMPLE_BODY_BYTES and (len(self._sample) < _SAMPLE_MOST or drawn < self._sample[-1][0]):
            insort(self._sample, (drawn, place, Sampled(key, seconds, body.to_pybytes())))
            del self._sample[_SAMPLE_MOST:]

    def sample(self) -> list[Sampled]:
        """The rows to decode, once the last table was taken."""
        wanted = min(_SAMPLE_MOST, max(_SAMPLE_LEAST, len(self.hashes) // _ROWS_A_SAMPLE))
        return [row for *_, row in self._sample[:wanted]]

    def stats(self) -> Stats:
        """The figures, once the last table was taken."""
        return Stats(
            rows=self.counts["rows"],
            episodes=len(self._episodes),
            audio_seconds=round(self._seconds, 3),
            speakers=len(self._speakers),
            duration_s=tuple(self._durations),
            dnsmos=tuple(self._dnsmos),
        )
