"""Figures of a chunk's rows: hours, speakers, and durations and DNSMOS in bins with fixed edges, so that chunks add up.

They are counted while a chunk is built (observe.py), and stored in the build record and in the materializations of
hub_commit: the dataset's figures are the sum over the latter.
"""

from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# Bin i holds edges[i-1] <= value < edges[i]: the first what lies below all edges, the last what reaches the highest.
# A second each up to 30 s, the most that speech models take at once, then coarser.
DURATION_EDGES_S: tuple[float, ...] = (*map(float, range(1, 31)), 45.0, 60.0, 120.0, 600.0)
# A tenth each. As float32, like the column: 3.3 read from it must not fall below the edge 3.3.
DNSMOS_EDGES: tuple[float, ...] = tuple(array("f", (tenth / 10 for tenth in range(10, 51))))


@dataclass(frozen=True)
class Stats:
    """Figures of a chunk's rows; of many chunks when added up.

    Attributes:
        episodes: those with rows.
        audio_seconds: of the durations that are known and not above observe.MAX_DURATION_S.
        speakers: distinct within each episode, summed, as a speaker_id means nothing beyond its episode.
        duration_s, dnsmos: rows by the edges above, one bin more than edges. Null values are in no bin.
    """

    rows: int = 0
    episodes: int = 0
    audio_seconds: float = 0.0
    speakers: int = 0
    duration_s: tuple[int, ...] = (0,) * (len(DURATION_EDGES_S) + 1)
    dnsmos: tuple[int, ...] = (0,) * (len(DNSMOS_EDGES) + 1)

    def __post_init__(self) -> None:
        if len(self.duration_s) != len(DURATION_EDGES_S) + 1 or len(self.dnsmos) != len(DNSMOS_EDGES) + 1:
            raise ValueError("stats: the bins are not these edges'")

    def __add__(self, other: "Stats") -> "Stats":
        return Stats(
            rows=self.rows + other.rows,
            episodes=self.episodes + other.episodes,
            audio_seconds=round(self.audio_seconds + other.audio_seconds, 3),
            speakers=self.speakers + other.speakers,
            duration_s=tuple(map(sum, zip(self.duration_s, other.duration_s, strict=True))),
            dnsmos=tuple(map(sum, zip(self.dnsmos, other.dnsmos, strict=True))),
        )

    def as_json(self) -> dict[str, Any]:
        """The attributes by name; the bins as a text each, since Dagster's UI gives every item of a list a line."""
        bins = {name: " ".join(map(str, getattr(self, name))) for name in ("duration_s", "dnsmos")}
        return asdict(self) | bins

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Stats":
        """Read what `as_json` made, or an earlier release, whose bins are lists and which has two entries more.

        Raises:
            KeyError, TypeError, ValueError: it is anything else, other bins included.
        """
        whole = {name: raw[name] for name in ("rows", "episodes", "audio_seconds", "speakers")}
        return cls(**whole, duration_s=_bins(raw["duration_s"]), dnsmos=_bins(raw["dnsmos"]))


def _bins(raw: Any) -> tuple[int, ...]:
    return tuple(map(int, raw.split() if isinstance(raw, str) else raw))
