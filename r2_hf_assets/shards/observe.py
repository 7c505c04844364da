"""Collects the input of a chunk's figures and quality checks from each row group before it is written.

The audio is then in memory, so no file is read again. Memory does not grow with the audio: counts, speakers, eight
bytes a row (to find equal audio), and a sample of rows to decode. The sample holds the rows whose audio has the lowest
hashes, so the same input gives the same sample.
"""

from array import array
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from xxhash import xxh3_64_intdigest

from r2_hf_assets.shards.stats import DNSMOS_EDGES, DURATION_EDGES_S, Stats

# Three MP3 frames at 24 kHz, too short for a word. As float32, like the column.
MIN_DURATION_S = array("f", [0.1])[0]
# A longer one is a broken time stamp (milliseconds taken for seconds). No sum includes it: one would outweigh the
# hours of the whole dataset.
MAX_DURATION_S = 3600.0
DNSMOS_RANGE = (1.0, 5.0)

# One row in a hundred is decoded, so that the check of a small chunk costs less than its build.
_MIN_SAMPLE, _MAX_SAMPLE, _ROWS_PER_SAMPLE = 4, 24, 100
_SAMPLE_BODY_BYTES = 2**20

Values = Sequence[float | None]


@dataclass(frozen=True)
class Sampled:
    key: str
    duration: float | None
    body: bytes


class Observer:
    """Collects from the tables of one build, added in row order.

    Attributes:
        counts: rows, and values that break a rule, by the rules' names in quality.py.
        hashes: 64-bit XXH3 of each row's audio, in row order.
    """

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self.hashes = array("Q")
        self._durations = [0] * (len(DURATION_EDGES_S) + 1)
        self._dnsmos = [0] * (len(DNSMOS_EDGES) + 1)
        self._seconds = 0.0
        self._episodes, self._speakers = set[str](), set[tuple[str, str]]()
        self._sample: list[tuple[int, int, Sampled]] = []  # sorted by (hash, row)

    def add(self, table: pa.Table) -> None:
        """Collect from a row group; no reference to its buffers remains."""
        for batch in table.to_batches():
            keys, bodies = batch.column("audio").flatten()
            names = ("duration_seconds", "dnsmos", "text", "speaker_id")
            durations, *others = (batch.column(name).to_pylist() for name in names)
            listed = keys.to_pylist()
            self.add_values(listed, durations, *others)
            for key, body, seconds in zip(listed, bodies, durations, strict=True):
                self._add_audio(key, body.as_buffer(), seconds)

    def add_values(
        self,
        keys: Sequence[str],
        durations: Values,
        scores: Values,
        texts: Sequence[str | None],
        speakers: Sequence[str | None],
    ) -> None:
        """Collect from rows without their audio."""
        counts = self.counts
        counts["rows"] += len(keys)
        for key, speaker in zip(keys, speakers, strict=True):
            episode = key.rpartition("/")[0]
            self._episodes.add(episode)
            if speaker is not None:
                self._speakers.add((episode, speaker))
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

    def _add_audio(self, key: str, body: pa.Buffer, seconds: float | None) -> None:
        digest, row = xxh3_64_intdigest(body), len(self.hashes)
        self.hashes.append(digest)
        if body.size <= _SAMPLE_BODY_BYTES and (len(self._sample) < _MAX_SAMPLE or digest < self._sample[-1][0]):
            insort(self._sample, (digest, row, Sampled(key, seconds, body.to_pybytes())))
            del self._sample[_MAX_SAMPLE:]

    def sample(self) -> list[Sampled]:
        """Return the rows whose audio is decoded."""
        size = min(_MAX_SAMPLE, max(_MIN_SAMPLE, len(self.hashes) // _ROWS_PER_SAMPLE))
        return [row for *_, row in self._sample[:size]]

    def stats(self) -> Stats:
        return Stats(
            rows=self.counts["rows"],
            episodes=len(self._episodes),
            audio_seconds=round(self._seconds, 3),
            speakers=len(self._speakers),
            duration_s=tuple(self._durations),
            dnsmos=tuple(self._dnsmos),
        )
