"""Progress: what tells work that is slow from work that hangs.

Whoever moves something calls `advance`: bytes that arrive or leave, a try of a call, a row group, a page. A wait that a
server asked for is announced by its length, and counts as progress until it is over. What is kept is one number, the
time of the latest progress; nothing is counted, so a call costs a fraction of a microsecond and needs no lock.

There is a mark for the process, which the heartbeat of a run reads (assets/signs_of_life.py). A transfer that has to be
given up by itself, whatever else the process does, has a mark of its own as well (hub/transfer.py): `following` sets it
for the code that runs in this context.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any


class Left(Exception):
    """The transfer was given up; what still works for it ends."""


class Mark:
    """The time of the latest progress, by the monotonic clock; in the future while a wait lasts that was asked for."""

    def __init__(self) -> None:
        self.at = time.monotonic()
        self.left = False

    def advance(self, wait: float = 0.0) -> None:
        self.at = max(self.at, time.monotonic() + wait)

    def idle(self) -> float:
        """Seconds without progress; negative during a wait that was asked for."""
        return time.monotonic() - self.at


PROCESS = Mark()
_here: ContextVar[Mark | None] = ContextVar("_here", default=None)


def advance(wait: float = 0.0) -> None:
    """Something moved, or `wait` seconds were asked for in which nothing will.

    Raises:
        Left: this is the work of a transfer that was given up.
    """
    _advance(_here.get(), wait)


def advancing() -> Callable[[], None]:
    """`advance` of this context, for a thread that a library started."""
    here = _here.get()
    return lambda: _advance(here, 0.0)


def _advance(here: Mark | None, wait: float) -> None:
    if here is not None:
        if here.left:
            raise Left
        here.advance(wait)
    PROCESS.advance(wait)


@contextmanager
def following(mark: Mark) -> Iterator[None]:
    """Let what this context does advance `mark` too."""
    token = _here.set(mark)
    try:
        yield
    finally:
        _here.reset(token)


class Sent:
    """A file that somebody sends: each block that is read of it is progress."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        advance()
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
