"""Whose turn it is: which due chunks to ask runs for now, given what runs and how earlier runs went.

Pure: time, runs and history come in as data. An attempt that failed is repeated after 2 minutes, then 8, 32 and 128,
and after the fifth not again. When every one of the last runs failed the trouble is hardly the chunks' own, so one run
at a time tries on until one succeeds: a wrong token costs a few builds and not thousands.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from r2_hf_assets.plan.chunks import Planned

Name = tuple[str, int]

ATTEMPTS = 5
FIRST_WAIT_S = 120.0
WAIT_GROWS = 4
# So many runs failed, one after another: then it is not the chunks.
BAD_SERIES = 8


@dataclass(frozen=True)
class Tried:
    """How the finished runs of a chunk that is still due went.

    Attributes:
        attempts: how many were asked for here, for the chunk's digest.
        ended: when the newest one ended, whoever asked for it; epoch seconds.
        terminated: a person ended the newest one.
    """

    attempts: int
    ended: float
    terminated: bool = False


@dataclass(frozen=True)
class Turn:
    """What to ask for, each chunk with the number of its attempt, and what becomes of the other due ones."""

    asks: tuple[tuple[Planned, int], ...]
    due: int
    busy: int
    later: int
    next_s: float
    given_up: tuple[Name, ...]
    terminated: tuple[Name, ...]
    room: int
    bad_series: bool


def decide(
    due: Iterable[Planned],
    busy: Collection[Name],
    tried: Mapping[Name, Tried],
    *,
    running: int,
    in_flight: int,
    per_tick: int,
    bad_since: float | None,
    now: float,
) -> Turn:
    """Choose in plan order, as many as there is room for.

    Args:
        busy: chunks that somebody works on, or is about to.
        running: queued and running runs in all; `in_flight`: how many there may be.
        bad_since: when the last of BAD_SERIES runs ended that all failed; None when one of the last succeeded.
    """
    room = max(0, min(per_tick, in_flight - running))
    if bad_since is not None:
        room = 1 if running == 0 and now - bad_since >= FIRST_WAIT_S else 0
    asks: list[tuple[Planned, int]] = []
    given_up: list[Name] = []
    terminated: list[Name] = []
    waits: list[float] = []
    count = at_work = 0
    for chunk in due:
        name = (chunk.language, chunk.number)
        count += 1
        known = tried.get(name, Tried(0, 0.0))
        wait = known.ended + FIRST_WAIT_S * WAIT_GROWS ** max(0, known.attempts - 1) - now if name in tried else 0.0
        if name in busy:
            at_work += 1
        elif known.terminated:
            terminated.append(name)
        elif known.attempts >= ATTEMPTS:
            given_up.append(name)
        elif wait > 0:
            waits.append(wait)
        elif len(asks) < room:
            asks.append((chunk, known.attempts + 1))
    return Turn(
        asks=tuple(asks),
        due=count,
        busy=at_work,
        later=len(waits),
        next_s=min(waits, default=0.0),
        given_up=tuple(given_up),
        terminated=tuple(terminated),
        room=room,
        bad_series=bad_since is not None,
    )
