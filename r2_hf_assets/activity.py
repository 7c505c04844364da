"""The time of the latest progress, by which a run's heartbeat distinguishes slow work from a hang (runs/heartbeat.py).

Code that makes progress calls `advance`: for bytes received or sent, an attempt of a call, a row group, a page. A wait
that a server requests counts as progress until it is over.
"""

import time
from typing import Any


class ProgressClock:
    """`at` is on the monotonic clock, and in the future during a requested wait."""

    def __init__(self) -> None:
        self.at = time.monotonic()

    def advance(self, wait: float = 0.0) -> None:
        self.at = max(self.at, time.monotonic() + wait)

    def idle(self) -> float:
        """Return the seconds without progress; negative during a requested wait."""
        return time.monotonic() - self.at


PROCESS = ProgressClock()


def advance(wait: float = 0.0) -> None:
    """Record progress. `wait`: seconds that a server requests to wait."""
    PROCESS.advance(wait)


class ProgressFile:
    """A file for an upload: each block read from it is progress."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        advance()
        block: bytes = self._file.read(size)
        return block

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
