"""Which due chunks to request runs for now, given what runs and how earlier runs ended; and when to slow down.

Pure: time, runs and history are arguments. An attempt that failed is repeated, later and later, up to a limit
(retry.py).

The brake is one rule for the sensor and for `r2-hf process`. A systemic failure (errors.py: a wrong token, a missing
right, a disk that can't be written) would repeat in every run, so one of them brakes. A series of failures of any kind
is hardly the chunks' own, so it brakes, too. Then the sensor requests one run at a time until one succeeds, and the
command stops: a wrong token costs a few builds and not thousands.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile

from r2_hf_assets.plan.chunks import Planned
from r2_hf_assets.retry import RUN_ATTEMPTS, RUN_FIRST_WAIT_S, RUN_WAIT_FACTOR

Name = tuple[str, int]

# So many failures in a row are not the chunks' own.
BAD_SERIES = 8


class End(Enum):
    """How a run ended by itself. One that a person terminated is not counted."""

    SUCCESS = "success"
    FAILURE = "failure"
    SYSTEMIC_FAILURE = "systemic failure"


def brake(newest_first: Iterable[End]) -> str | None:
    """Why no more runs are to be started as usual; None when they are.

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
        attempts: how many the sensor requested for the chunk's digest.
        ended: when the newest run ended, whoever requested it; epoch seconds.
        terminated: a person ended the newest one, by itself and not with its backfill.
    """

    attempts: int
    ended: float
    terminated: bool = False


@dataclass(frozen=True)
class Turn:
    """The runs to request, each chunk with the number of its attempt, and the state of the other due chunks.

    Attributes:
        due, busy, later: counts of all due chunks, of those with a run, and of those that wait for their next attempt.
        next_s: seconds until the first of those waits ends.
        given_up, terminated: chunks that are requested no more.
        room: how many runs may be requested now.
    """

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
    """Choose chunks in plan order, as many as there is room for.

    Args:
        busy: chunks with a queued or running run, a backfill or a retry.
        running: queued and running runs in all; `in_flight`: how many there may be.
        per_tick: how many to request at most.
        braked: set while one run at a time is tried.
    """
    room = max(0, min(per_tick, in_flight - running))
    if braked is not None:
        room = 1 if running == 0 and now - braked.since >= RUN_FIRST_WAIT_S else 0
    asks: list[tuple[Planned, int]] = []
    given_up: list[Name] = []
    terminated: list[Name] = []
    waits: list[float] = []
    count = at_work = 0
    for chunk in due:
        name = (chunk.language, chunk.number)
        count += 1
        known = tried.get(name, Tried(0, 0.0))
        wait = known.ended + _wait_after(known.attempts) - now if name in tried else 0.0
        if name in busy:
            at_work += 1
        elif known.terminated:
            terminated.append(name)
        elif known.attempts >= RUN_ATTEMPTS:
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


def _wait_after(attempts: int) -> float:
    """Seconds between the end of an attempt and the next one."""
    return RUN_FIRST_WAIT_S * float(RUN_WAIT_FACTOR) ** max(0, attempts - 1)
