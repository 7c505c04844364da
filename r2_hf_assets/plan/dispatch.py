"""Which due chunks to request runs for now, given what runs and how earlier runs ended; and when to slow down.

Pure: time, runs and history are arguments. An attempt that failed is repeated, later and later, up to a limit
(retry.py).

The brake is one rule for the sensor and for `r2-hf process`. A systemic failure (errors.py: a wrong token, a missing
right, a disk that can't be written) would repeat in every run, so one of them brakes. A series of failures of any kind
is hardly the chunks' own, so it brakes, too. Then the sensor requests one run at a time until one succeeds, and the
command stops: a wrong token costs a few builds and not thousands.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import takewhile

from r2_hf_assets.plan.chunks import ChunkRef, Name
from r2_hf_assets.retry import RUN_ATTEMPTS, RUN_FIRST_WAIT_S, RUN_WAIT_FACTOR

# So many failures in a row are not the chunks' own.
BAD_SERIES = 8


class RunOutcome(Enum):
    """How a run ended by itself. One that a person terminated is not counted."""

    SUCCESS = "success"
    FAILURE = "failure"
    SYSTEMIC_FAILURE = "systemic failure"


def repeated_failure(newest_first: Iterable[RunOutcome]) -> str | None:
    """Why no more runs are to be started as usual; None when they are.

    Args:
        newest_first: how the last runs ended, at least BAD_SERIES of them where there were so many.
    """
    failures = list(takewhile(lambda end: end is not RunOutcome.SUCCESS, newest_first))
    if RunOutcome.SYSTEMIC_FAILURE in failures:
        return "the last failure is of a kind that every run would meet"
    if len(failures) >= BAD_SERIES:
        return f"the last {BAD_SERIES} runs failed"
    return None


@dataclass(frozen=True)
class OpenCircuit:
    """The brake is on: why, and when the newest failure ended, in epoch seconds."""

    why: str
    since: float


@dataclass(frozen=True)
class AttemptHistory:
    """How the finished runs of a chunk that is still due went.

    Attributes:
        attempts: how many the sensor requested for the chunk's digest.
        ended: when the newest run ended, whoever requested it; epoch seconds.
        terminated: a person ended the newest one, by itself and not with its backfill.
    """

    attempts: int
    ended: float
    terminated: bool = False


@dataclass
class Selection:
    """The runs to request, each chunk with the number of its attempt, and the state of the other due chunks.

    Attributes:
        busy: how many have a run already.
        waits: of those whose next attempt comes later, the seconds until then.
        given_up, terminated: chunks that are requested no more.
    """

    asks: list[tuple[ChunkRef, int]] = field(default_factory=list)
    busy: int = 0
    waits: list[float] = field(default_factory=list)
    given_up: list[Name] = field(default_factory=list)
    terminated: list[Name] = field(default_factory=list)


def select_runs(
    due: Iterable[ChunkRef],
    busy: Collection[Name],
    tried: Mapping[Name, AttemptHistory],
    *,
    running: int,
    in_flight: int,
    per_tick: int,
    open_circuit: OpenCircuit | None,
    now: float,
) -> Selection:
    """Choose chunks in plan order, as many as there is room for.

    Args:
        busy: chunks with a queued or running run.
        running: queued and running runs in all; `in_flight`: how many there may be.
        per_tick: how many to request at most.
        braked: set while one run at a time is tried.
    """
    room = min(per_tick, in_flight - running)
    if open_circuit is not None:
        room = int(running == 0 and now - open_circuit.since >= RUN_FIRST_WAIT_S)
    turn = Selection()
    for chunk in due:
        name = chunk.name
        known = tried.get(name)
        attempts = known.attempts if known else 0
        if name in busy:
            turn.busy += 1
        elif known and known.terminated:
            turn.terminated.append(name)
        elif attempts >= RUN_ATTEMPTS:
            turn.given_up.append(name)
        elif known and (wait := known.ended + _wait_after(attempts) - now) > 0:
            turn.waits.append(wait)
        elif len(turn.asks) < room:
            turn.asks.append((chunk, attempts + 1))
    return turn


def _wait_after(attempts: int) -> float:
    """Seconds between the end of an attempt and the next one; a run without a count waits like a first attempt."""
    return RUN_FIRST_WAIT_S * float(RUN_WAIT_FACTOR) ** max(0, attempts - 1)
