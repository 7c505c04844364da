"""Signs of life: while a run works, it writes a tag once a minute, so that a run whose host died can be told.

It is a resource, because a resource lives as long as the run: a run that waits for a slot of a pool between two steps
shows signs too. Every asset and asset check must take it, or `lost_runs` ends its runs as dead.

A thread writes, so the work may be as slow as it likes. The first sign comes after the first minute: a short run pays
nothing. A sign that can't be written (the database is locked or away) is tried again a minute later and harms nothing.
The tag is one of Dagster's hidden ones: a time that changes every minute would only be noise in the lists of runs.

Each time the thread also sees whether somebody ended the run: `lost_runs`, because the database heard nothing of it for
long, or a user who forced its termination. The assets ask `stop_if_ended` between row groups and before a commit. What
happens until then is safe: a second run of the same chunk builds in a folder of its own, and commits by comparison.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from dagster import (
    ConfigurableResource,
    DagsterExecutionInterruptedError,
    InitResourceContext,
)
from pydantic import PrivateAttr

# The name begins as Dagster's hidden tags do: stored and queried as any other, left out of the UI.
ALIVE_TAG = ".dagster/r2_hf_assets/alive"
BEAT_SECONDS = 60.0
# A beat that hangs in the database must not hold the end of its run.
_LAST_BEAT_SECONDS = 5.0

_log = logging.getLogger(__name__)


class SignsOfLife(ConfigurableResource):
    """Shows that the run is alive, and knows whether it was ended from outside."""

    _ended: threading.Event = PrivateAttr(default_factory=threading.Event)

    @contextmanager
    def yield_for_execution(self, context: InitResourceContext) -> Iterator["SignsOfLife"]:
        """Beat for as long as the run has its resources."""
        instance, this = context.instance, context.run
        self._ended = ended = threading.Event()
        if instance is None or this is None:  # made outside of a run
            yield self
            return

        def beat() -> bool:
            run = instance.get_run_by_id(this.run_id)
            if run is None or run.is_finished:
                ended.set()
                return False
            # Dagster reads and rewrites all of a run's tags: one that somebody else adds right now may be lost. That
            # costs no retry: the daemon works out for itself what it finds no tag about.
            instance.add_run_tags(this.run_id, {ALIVE_TAG: datetime.now(UTC).isoformat(timespec="microseconds")})
            return True

        with beating(beat, BEAT_SECONDS):
            yield self

    def stop_if_ended(self) -> None:
        """Stop working once the run was ended from outside: what is left, a retry does or nobody wants.

        Raises:
            DagsterExecutionInterruptedError: Dagster leaves the run's end as it is and notes the interruption.
        """
        if self._ended.is_set():
            raise DagsterExecutionInterruptedError("this run was ended from outside while it worked")

    def sleep(self, seconds: float) -> None:
        """Wait, as a retry does, but no longer than somebody wants the run.

        Raises:
            DagsterExecutionInterruptedError: the run was ended from outside.
        """
        self._ended.wait(seconds)
        self.stop_if_ended()


@contextmanager
def beating(beat: Callable[[], bool], every_s: float) -> Iterator[None]:
    """Call `beat` in a thread every `every_s` seconds, until it returns False or the block ends."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(every_s):
            try:
                if not beat():
                    return
            except Exception as error:
                _log.debug("no sign of life this time: %s", error)

    thread = threading.Thread(target=work, name="signs-of-life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_LAST_BEAT_SECONDS)
