"""Which due chunks to ask runs for now, given what runs and how earlier runs went; and when to stop asking as usual.

Pure: time, runs and history come in as data. An attempt that failed is repeated after 2 minutes, then 8, 32 and 128,
and after the fifth not again.

The brake is one rule for the sensor and for `r2-hf process`. A systemic failure (errors.py: a wrong token, a missing
right, a disk that can't be written) would meet every run, so it brakes at once. A series of failures of any kind is
hardly the chunks' own, so it brakes, too. Then the sensor tries one run at a time until one succeeds, and the command
stops: a wrong token costs a few builds and not thousands.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile

from r2_hf_assets.plan.chunks import Planned

Name = tuple[str, int]

ATTEMPTS = 5
FIRST_WAIT_S = 120.0
WAIT_GROWS = 4
# So many runs failed, one after another: then it is not the chunks.
BAD_SERIES = 8


class End(Enum):
    """How a run ended by itself. One that a person terminated counts neither way."""

    SUCCESS = "success"
    FAILURE = "failure"
    SYSTEMIC_FAILURE = "systemic failure"


def brake(newest_first: Iterable[End]) -> str | None:
    """Why no more runs are to be started as usual; None while nothing speaks against it.

    Args:
        newest_first: how the last runs ended, at least BAD_SERIES of them where there were so many.
    """
    failures = list(takewhile(lambda end: end is not End.SUCCESS, newest_first))
    if End.SYSTEMIC_FAILURE in failures:
        return "the last failure is of a kind that every run would meet"
    if len(failures) >= BAD_SERIES:
        return f"the last {BAD_SERIES} runs failed"
    return None


@dataclass(frozen=True)
class Braked:
    """The brake is on: why, and when the newest failure ended, in epoch seconds."""

    why: str
    since: float


@dataclass(frozen=True)
class Tried:
    """How the finished runs of a chunk that is still due went.

    Attributes:
        attempts: how many were asked for here, for the chunk's digest.
        ended: when the newest one ended, whoever asked for it; epoch seconds.
        terminated: a person ended the newest one, by itself and not with its backfill.
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
    braked: str | None


def decide(
    due: Iterable[Planned],
    busy: Collection[Name],
    tried: Mapping[Name, Tried],
    *,
    running: int,
    in_flight: int,
    per_tick: int,
    braked: Braked | None,
    now: float,
) -> Turn:
    """Choose in plan order, as many as there is room for.

    Args:
        busy: chunks that somebody works on, or is about to.
        running: queued and running runs in all; `in_flight`: how many there may be.
        braked: set while one run at a time is tried.
    """
    room = max(0, min(per_tick, in_flight - running))
    if braked is not None:
        room = 1 if running == 0 and now - braked.since >= FIRST_WAIT_S else 0
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
        braked=braked.why if braked else None,
    )
