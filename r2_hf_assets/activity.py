"""Progress: what tells work that is slow from work that hangs.

Whoever moves something calls `advance`: bytes that arrive or leave, a try of a call, a row group, a page. A wait that a
server asked for is announced by its length, and counts as progress until it is over. What is kept is one number, the
time of the latest progress; nothing is counted, so a call costs a fraction of a microsecond and needs no lock. The
heartbeat of a run reads it (assets/signs_of_life.py).
"""

import time
from typing import Any


class Mark:
    """The time of the latest progress, by the monotonic clock; in the future while a wait lasts that was asked for."""

    def __init__(self) -> None:
        self.at = time.monotonic()

    def advance(self, wait: float = 0.0) -> None:
        self.at = max(self.at, time.monotonic() + wait)

    def idle(self) -> float:
        """Seconds without progress; negative during a wait that was asked for."""
        return time.monotonic() - self.at


PROCESS = Mark()


def advance(wait: float = 0.0) -> None:
    """Something moved, or `wait` seconds were asked for in which nothing will."""
    PROCESS.advance(wait)


class Sent:
    """A file that somebody sends: each block that is read of it is progress."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        advance()
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
