"""How fast chunks are being committed, and how long the rest would take at that pace.

Told only where it can be told honestly: from commits that runs made (what reconcile or import recorded took no time),
of the stretch of work that goes on now. A pause of two hours ends a stretch, so a night in which nothing ran makes
nothing look slow.
"""

from collections.abc import Iterable
from dataclasses import dataclass

# Fewer chunks than this say nothing.
_CHUNKS = 3
_PAUSE_S = 2 * 3600.0


@dataclass(frozen=True)
class Pace:
    """`chunks` were committed in the last `hours_measured`; `hours_left` is for all that is due."""

    episodes_per_hour: float
    hours_left: float
    chunks: int
    hours_measured: float


def pace(commits: Iterable[tuple[float, int]], episodes_due: int, now: float) -> Pace | None:
    """The pace of the stretch of work that goes on now; None when there is none, or too little of it.

    Args:
        commits: when a chunk was committed, in Unix seconds, and how many episodes it holds.
    """
    stretch: list[tuple[float, int]] = []
    later = now
    for at, episodes in sorted(commits, reverse=True):
        if later - at > _PAUSE_S:
            break
        stretch.append((at, episodes))
        later = at
    if len(stretch) < _CHUNKS:
        return None
    first = stretch[-1][0]
    # The first commit begins the clock: how long its own chunk took is not known. A pause until now counts.
    seconds = now - first
    episodes = sum(episodes for at, episodes in stretch if at > first)
    if not episodes or seconds <= 0:
        return None
    an_hour = episodes / seconds * 3600
    return Pace(round(an_hour, 1), round(episodes_due / an_hour, 2), len(stretch), round(seconds / 3600, 2))
