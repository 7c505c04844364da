"""The time of the latest progress, by which a run's heartbeat tells slow work from work that hangs.

Code that makes progress calls `advance`: for bytes received or sent, a try of a call, a row group, a page. A wait that
a server requests counts as progress until it is over. The heartbeat reads it (runs/heartbeat.py).
"""

import time
from typing import Any


class ProgressClock:
    """`at` is on the monotonic clock; in the future during a wait that a server requested."""

    def __init__(self) -> None:
        self.at = time.monotonic()

    def advance(self, wait: float = 0.0) -> None:
        self.at = max(self.at, time.monotonic() + wait)

    def idle(self) -> float:
        """Seconds without progress; negative during a wait that a server requested."""
        return time.monotonic() - self.at


PROCESS = ProgressClock()


def advance(wait: float = 0.0) -> None:
    """Record progress. `wait`: seconds without any that a server requested."""
    PROCESS.advance(wait)


class ProgressFile:
    """A file that is uploaded: each block read from it is progress."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        advance()
        block: bytes = self._file.read(size)
        return block

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
