"""Select the due chunks to request runs for, from active runs and the history of earlier ones; and when to slow down.

Pure: time, runs and history are arguments. A failed chunk is requested again with growing delays, up to a limit
(retry.py).

The circuit breaker is one rule for the sensor and for `r2-hf process`. A systemic failure (errors.py: a wrong token, a
missing right, a read-only disk) would repeat in every run, so one of them opens the circuit. So does a series of
failures of any kind. Then the sensor requests one run at a time until one succeeds, and the command stops: a wrong
token costs a few builds and not thousands.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import takewhile

from r2_hf_assets.plan.chunks import ChunkRef, Name
from r2_hf_assets.retry import RUN_ATTEMPTS, RUN_FIRST_WAIT_S, RUN_WAIT_FACTOR

MAX_CONSECUTIVE_FAILURES = 8


class RunOutcome(Enum):
    """How a run ended. Runs that a person terminated are not counted."""

    SUCCESS = "success"
    FAILURE = "failure"
    SYSTEMIC_FAILURE = "systemic failure"


def repeated_failure(newest_first: Iterable[RunOutcome]) -> str | None:
    """Return why the next runs are expected to fail too, from the last MAX_CONSECUTIVE_FAILURES runs; else None."""
    failures = list(takewhile(lambda outcome: outcome is not RunOutcome.SUCCESS, newest_first))
    if RunOutcome.SYSTEMIC_FAILURE in failures:
        return "the last failure is of a kind that every run would meet"
    if len(failures) >= MAX_CONSECUTIVE_FAILURES:
        return f"the last {MAX_CONSECUTIVE_FAILURES} runs failed"
    return None


@dataclass(frozen=True)
class OpenCircuit:
    """Why the circuit is open, and when the newest failure ended, in epoch seconds."""

    why: str
    since: float


@dataclass(frozen=True)
class AttemptHistory:
    """The finished runs of a chunk that is still due.

    Attributes:
        attempts: runs that the sensor requested for the chunk's digest.
        ended: when the newest run ended, in epoch seconds, including runs that the sensor did not request.
        terminated: a person terminated the newest run by itself, not with its backfill.
        run_id: of the newest run.
    """

    attempts: int
    ended: float
    terminated: bool = False
    run_id: str = ""

    @property
    def exhausted(self) -> bool:
        """All attempts failed, so the chunk is given up."""
        return self.attempts >= RUN_ATTEMPTS and not self.terminated


@dataclass
class Selection:
    """The runs to request, each a chunk with the number of its attempt, and the state of the other due chunks.

    Attributes:
        active: number of chunks with a queued or running run.
        waits: seconds until the next attempt of each failed chunk that has to wait.
        exhausted, terminated: chunks that are not requested any more.
    """

    runs: list[tuple[ChunkRef, int]] = field(default_factory=list)
    active: int = 0
    waits: list[float] = field(default_factory=list)
    exhausted: list[Name] = field(default_factory=list)
    terminated: list[Name] = field(default_factory=list)


def select_runs(
    due: Iterable[ChunkRef],
    active: Collection[Name],
    histories: Mapping[Name, AttemptHistory],
    *,
    running: int,
    in_flight: int,
    per_tick: int,
    open_circuit: OpenCircuit | None,
    now: float,
) -> Selection:
    """Select chunks in plan order.

    `active` chunks have a queued or running run; `running` is the number of all such runs, `in_flight` its limit. At
    most `per_tick` runs are selected.
    """
    room = min(per_tick, in_flight - running)
    if open_circuit is not None:
        room = int(running == 0 and now - open_circuit.since >= RUN_FIRST_WAIT_S)
    selection = Selection()
    for chunk in due:
        history = histories.get(chunk.name)
        attempts = history.attempts if history else 0
        if chunk.name in active:
            selection.active += 1
        elif history and history.terminated:
            selection.terminated.append(chunk.name)
        elif history and history.exhausted:
            selection.exhausted.append(chunk.name)
        elif history and (wait := history.ended + wait_after(attempts) - now) > 0:
            selection.waits.append(wait)
        elif len(selection.runs) < room:
            selection.runs.append((chunk, attempts + 1))
    return selection


def wait_after(attempts: int) -> float:
    """Return the seconds between an attempt's end and the next; a run that the sensor did not request counts as one."""
    return RUN_FIRST_WAIT_S * float(RUN_WAIT_FACTOR) ** max(0, attempts - 1)
