"""What a chunk's rows are like: hours, speakers, languages, and how durations and DNSMOS are spread.

Counted from each row group's table just before it is written, so that nothing is read twice, and kept as counts in bins
with fixed edges: chunks can be added up, whatever their size. They go into the build record, and from there as one
compact JSON entry, `stats`, into the materializations of parquet_shards and hub_commit; the dataset's figures are the
sum over the latter.

A duration above MAX_DURATION_S is a broken time stamp: it is counted in its bin, but in no sum of seconds, because
one of them would drown the hours of the whole dataset.
"""

import heapq
import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any

import pyarrow as pa

# Bin i holds edges[i-1] <= value < edges[i]: the first what lies below all edges, the last what reaches the highest.
# A second each up to 30 s, the most that speech models take at once, then coarser.
DURATION_EDGES_S: tuple[float, ...] = (*map(float, range(1, 31)), 45.0, 60.0, 120.0, 600.0)
# A tenth each. As float32, like the column: 3.3 read from it must not fall below the edge 3.3.
DNSMOS_EDGES: tuple[float, ...] = tuple(array("f", (tenth / 10 for tenth in range(10, 51))))
# Segments are turns of a talk. Milliseconds taken for seconds make more than this of 4 s.
MAX_DURATION_S = 3600.0

_TOP_SPEAKERS = 6


@dataclass(frozen=True)
class Stats:
    """Figures of a chunk's rows; of many chunks when added up.

    Values that are null are in no bin: they are `rows` less the bins' sum. Seconds are of the durations that are known
    and not above MAX_DURATION_S.

    Attributes:
        episodes: those with rows.
        speakers: distinct within each episode, summed, as a speaker_id means nothing beyond its episode.
        duration_s: rows by DURATION_EDGES_S; one bin more than edges.
        dnsmos: rows by DNSMOS_EDGES; one bin more than edges.
        languages: seconds by the rows' language.
        rejects: episodes and segments that became no row, by reason.
    """

    rows: int = 0
    episodes: int = 0
    audio_seconds: float = 0.0
    speakers: int = 0
    duration_s: tuple[int, ...] = (0,) * (len(DURATION_EDGES_S) + 1)
    dnsmos: tuple[int, ...] = (0,) * (len(DNSMOS_EDGES) + 1)
    languages: Mapping[str, float] = field(default_factory=dict)
    rejects: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.duration_s) != len(DURATION_EDGES_S) + 1 or len(self.dnsmos) != len(DNSMOS_EDGES) + 1:
            raise ValueError("stats: the bins are not these edges'")

    def __add__(self, other: "Stats") -> "Stats":
        return Stats(
            rows=self.rows + other.rows,
            episodes=self.episodes + other.episodes,
            audio_seconds=round(self.audio_seconds + other.audio_seconds, 3),
            speakers=self.speakers + other.speakers,
            duration_s=_sums(self.duration_s, other.duration_s),
            dnsmos=_sums(self.dnsmos, other.dnsmos),
            languages={name: round(seconds, 3) for name, seconds in _merged(self.languages, other.languages).items()},
            rejects={name: int(count) for name, count in _merged(self.rejects, other.rejects).items()},
        )

    def as_json(self) -> dict[str, Any]:
        """As it is stored: the attributes by name."""
        return {**asdict(self), "duration_s": list(self.duration_s), "dnsmos": list(self.dnsmos)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Stats":
        """Read what `as_json` made. Raises TypeError or ValueError for anything else, other bins included."""
        return cls(**{**raw, "duration_s": tuple(raw.get("duration_s", ())), "dnsmos": tuple(raw.get("dnsmos", ()))})


@dataclass(frozen=True)
class Speaker:
    """One speaker of one episode, and how long they speak."""

    episode: str
    speaker_id: str
    seconds: float


class Counting:
    """Counts tables of the dataset's schema, in plan order."""

    def __init__(self) -> None:
        self.speakers_top: list[Speaker] = []
        self._rows = self._episodes = self._speakers = 0
        self._durations = [0] * (len(DURATION_EDGES_S) + 1)
        self._dnsmos = [0] * (len(DNSMOS_EDGES) + 1)
        self._languages: dict[str, float] = {}
        self._episode: str | None = None
        self._seconds_of: dict[str, float] = {}

    def take(self, table: pa.Table) -> None:
        """Count a row group; nothing of the table is kept."""
        self._rows += table.num_rows
        keys = [key for chunk in table.column("audio").chunks for key in chunk.flatten()[0].to_pylist()]
        speakers = table.column("speaker_id").to_pylist()
        durations = [_known(value) for value in table.column("duration_seconds").to_pylist()]
        for value in durations:
            if value is not None:
                self._durations[bisect_right(DURATION_EDGES_S, value)] += 1
        for value in table.column("dnsmos").to_pylist():
            if (score := _known(value)) is not None:
                self._dnsmos[bisect_right(DNSMOS_EDGES, score)] += 1
        spoken = [value if value is not None and 0 <= value <= MAX_DURATION_S else 0.0 for value in durations]
        for language, seconds in zip(table.column("language").to_pylist(), spoken, strict=True):
            self._languages[language] = self._languages.get(language, 0.0) + seconds
        for key, speaker, seconds in zip(keys, speakers, spoken, strict=True):
            episode = key.rpartition("/")[0]
            if episode != self._episode:
                self._end_episode()
                self._episode = episode
                self._episodes += 1
            if speaker is not None:
                self._seconds_of[speaker] = self._seconds_of.get(speaker, 0.0) + seconds

    def _end_episode(self) -> None:
        self._speakers += len(self._seconds_of)
        if self._episode is not None and self._seconds_of:
            found = [Speaker(self._episode, name, seconds) for name, seconds in self._seconds_of.items()]
            self.speakers_top = heapq.nlargest(_TOP_SPEAKERS, [*self.speakers_top, *found], key=lambda s: s.seconds)
        self._seconds_of = {}

    def stats(self, rejects: Mapping[str, int]) -> Stats:
        """The figures, once every table was taken."""
        self._end_episode()
        self._episode = None
        return Stats(
            rows=self._rows,
            episodes=self._episodes,
            audio_seconds=round(math.fsum(self._languages.values()), 3),
            speakers=self._speakers,
            duration_s=tuple(self._durations),
            dnsmos=tuple(self._dnsmos),
            languages={name: round(seconds, 3) for name, seconds in sorted(self._languages.items())},
            rejects=dict(sorted(rejects.items())),
        )


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _sums(left: Iterable[int], right: Iterable[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip_longest(left, right, fillvalue=0))


def _merged(left: Mapping[str, float], right: Mapping[str, float]) -> dict[str, float]:
    return {name: left.get(name, 0) + right.get(name, 0) for name in sorted({*left, *right})}
