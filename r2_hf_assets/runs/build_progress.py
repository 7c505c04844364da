"""Progress of a build: lines in the run's log, and a callback with each running tally.

A line is logged at most every 15 seconds and every 5 % of the episodes, so a build has at most twenty: Dagster's
database keeps all lines of all runs.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from r2_hf_assets.plural import plural
from r2_hf_assets.shards.record import Tally

_EVERY_S = 15.0
_EVERY_SHARE = 0.05

# Called with a build's running tally after each row group.
Watch = Callable[[Tally], None]

# Not a resource: Dagster does not let a job replace a resource of the assets.
_WATCH: ContextVar[Watch | None] = ContextVar("build_watch", default=None)


@contextmanager
def watched_by(watch: Watch | None) -> Iterator[None]:
    """Call `watch` in this process's builds within the block, e.g. for the progress bar of `r2-hf process`."""
    before = _WATCH.set(watch)
    try:
        yield
    finally:
        _WATCH.reset(before)


class BuildProgress:
    """Progress of one build."""

    def __init__(self, key: str, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._key, self._write, self._clock = key, write, clock
        self._started = self._last = clock()
        self._share = 0.0

    def report(self, tally: Tally) -> None:
        """Call the watcher, and log a line if one is due."""
        if (watch := _WATCH.get()) is not None:
            watch(tally)
        now, share = self._clock(), tally.episodes_read / max(1, tally.episodes)
        self._share = min(self._share, share)  # a build that starts over has read less
        if now - self._last < _EVERY_S or share - self._share < _EVERY_SHARE:
            return
        self._last, self._share = now, share
        megabytes = tally.audio_bytes / 1e6
        self._write(
            f"{self._key}: {tally.episodes_read} of {plural(tally.episodes, 'episode')}, "
            f"{plural(tally.rows, 'row')}, {megabytes:.0f} MB, "
            f"{megabytes / (now - self._started):.0f} MB/s"
        )
