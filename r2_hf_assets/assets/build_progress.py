"""What a build tells while it goes on: some lines of the run's log, and whoever watches in this process.

A line is written when 15 seconds have passed and a twentieth of the episodes were read since the last one, so a build
has at most twenty: Dagster's database keeps every line of every run, and must not grow with the bytes.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from r2_hf_assets.shards.record import Tally

_EVERY_S = 15.0
_EVERY_SHARE = 0.05

# Told a build's running tally after each row group.
Watch = Callable[[Tally], None]

# No resource: Dagster refuses to give a job another one than the assets have.
_WATCH: ContextVar[Watch | None] = ContextVar("build_watch", default=None)


@contextmanager
def watched_by(watch: Watch | None) -> Iterator[None]:
    """Builds of this process within the block tell `watch`; `r2-hf process` puts its bar behind it."""
    before = _WATCH.set(watch)
    try:
        yield
    finally:
        _WATCH.reset(before)


def tell_watch(tally: Tally) -> None:
    """A row group was written."""
    if (watch := _WATCH.get()) is not None:
        watch(tally)


class ProgressLines:
    """Decides when a running tally is worth a line, and writes it."""

    def __init__(self, key: str, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._key, self._write, self._clock = key, write, clock
        self._started = self._last = clock()
        self._share = 0.0

    def tell(self, tally: Tally) -> None:
        """Write a line if it is time to."""
        now, share = self._clock(), tally.episodes_read / max(1, tally.episodes)
        self._share = min(self._share, share)  # it begins anew when the stream broke off
        if now - self._last < _EVERY_S or share - self._share < _EVERY_SHARE:
            return
        self._last, self._share = now, share
        megabytes = tally.audio_bytes / 1e6
        self._write(
            f"{self._key}: {tally.episodes_read} of {tally.episodes} episodes, {tally.rows} rows, {megabytes:.0f} MB, "
            f"{megabytes / (now - self._started):.0f} MB/s"
        )
