"""One GET on its way: the state that it is in, and what it needs there."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from r2_hf_assets.bucket.judge import Attempt, ReadListing
from r2_hf_assets.retry import Tries


class State(Enum):
    """Where a transfer is."""

    QUEUED = "queued"  # asked for, not yet sent
    RUNNING = "running"  # in libcurl's loop
    PAUSED = "paused"  # in libcurl's loop, its body waits for the byte budget
    WAITING = "waiting"  # for its next try
    DONE = "done"  # with a result or an error


@dataclass(slots=True, eq=False)
class Transfer:
    """One GET, from when it was asked for until it is taken. `limit`: the most bytes that its body may have."""

    what: str
    url: str
    turn: int
    limit: int
    listing: ReadListing | None = None
    state: State = State.QUEUED
    since: float = 0.0  # when the state began
    handle: Any = None
    tries: Tries | None = None
    attempt: Attempt | None = None
    ran: float = 0.0  # seconds in which this try was running, but for the present state's
    heard: float = 0.0  # when something last came
    due: float = 0.0  # when the next try is to be made
    result: Any = None
    error: Exception | None = None
