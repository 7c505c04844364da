"""Figures of a chunk: rows, hours, speakers, and histograms of duration and DNSMOS with fixed edges.

observe.py counts them during the build. The build record and the materialization of hub_commit store them. The
dataset's figures are the sum over the materializations.
"""

from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# Bin i holds edges[i-1] <= value < edges[i]; the first and the last bin are open. Up to 30 s, the usual input limit of
# speech models, a bin has one second.
DURATION_EDGES_S: tuple[float, ...] = (*map(float, range(1, 31)), 45.0, 60.0, 120.0, 600.0)
# As float32, like the column: its 3.3 must not fall below the edge 3.3.
DNSMOS_EDGES: tuple[float, ...] = tuple(array("f", (tenth / 10 for tenth in range(10, 51))))
_BINS = ("duration_s", "dnsmos")


@dataclass(frozen=True)
class Stats:
    """Figures of one chunk, or the sum of several.

    Attributes:
        episodes: those with rows.
        audio_seconds: sum of the durations up to observe.MAX_DURATION_S.
        speakers: distinct speakers of each episode, summed, as a speaker_id is unique only within its episode.
        duration_s, dnsmos: rows by bin, one bin more than edges; no bin counts nulls.
        removed_segments, removed_episodes: entries, and whole episodes, that amendments left out.
    """

    rows: int = 0
    episodes: int = 0
    audio_seconds: float = 0.0
    speakers: int = 0
    duration_s: tuple[int, ...] = (0,) * (len(DURATION_EDGES_S) + 1)
    dnsmos: tuple[int, ...] = (0,) * (len(DNSMOS_EDGES) + 1)
    removed_segments: int = 0
    removed_episodes: int = 0

    def __post_init__(self) -> None:
        if len(self.duration_s) != len(DURATION_EDGES_S) + 1 or len(self.dnsmos) != len(DNSMOS_EDGES) + 1:
            raise ValueError("stats: the number of bins differs from this release's")

    def __add__(self, other: "Stats") -> "Stats":
        pairs: dict[str, Any] = {name: (value, getattr(other, name)) for name, value in vars(self).items()}
        bins: dict[str, Any] = {name: tuple(map(sum, zip(*pairs.pop(name), strict=True))) for name in _BINS}
        return Stats(**bins, **{name: round(sum(pair), 3) for name, pair in pairs.items()})

    @property
    def hours(self) -> float:
        return self.audio_seconds / 3600

    def as_json(self) -> dict[str, Any]:
        """Return the attributes with bins as text, since Dagster's UI shows a list with one line an item."""
        return asdict(self) | {name: " ".join(map(str, getattr(self, name))) for name in _BINS}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Stats":
        """Read `as_json`, also with bins as lists. Raises KeyError, TypeError or ValueError for anything else."""
        scalars = {name: raw[name] for name in ("rows", "episodes", "audio_seconds", "speakers")}
        # A release without amendments recorded none.
        removed = {name: raw.get(name, 0) for name in ("removed_segments", "removed_episodes")}
        return cls(**scalars, **removed, duration_s=_bins(raw["duration_s"]), dnsmos=_bins(raw["dnsmos"]))


def _bins(raw: Any) -> tuple[int, ...]:
    return tuple(map(int, raw.split() if isinstance(raw, str) else raw))
