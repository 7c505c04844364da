"""The heartbeat of a run: a tag with the time, written once a minute while the run makes progress.

`lost_runs` ends runs whose tag stays the same, because their host died or their step hangs. The heartbeat is a
resource, because a resource lives as long as the run; a step without it would be ended as dead, and a test looks. A
thread writes the tag, after the first minute for the first time, so a short run pays nothing. A write that fails (the
database is locked or away) is repeated a minute later and harms nothing. The tag is one of Dagster's hidden ones: a
time that changes every minute would only be noise in the lists of runs.

While a step runs, the tag is written only when something made progress in the last minute (activity.py): a GET's bytes,
a row group, a part of an upload, a try of any request, a wait that a server requested. While none runs (the run waits
for a slot of a pool, Dagster does its own work) it is always written. So a step may be as slow as it likes, as long as
something moves in ten minutes. (hf_transfer reports no progress, and is given a time.)

The thread also sees when the run was ended from outside: by `lost_runs` after a long outage of the database, or by a
user who forced its termination. The assets call `raise_if_terminated` between row groups and before a commit. Until
then a second run of the same chunk is safe: it uploads the same content, and commits by comparison.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from dagster import ConfigurableResource, DagsterExecutionInterruptedError, DagsterInstance, InitResourceContext
from pydantic import PrivateAttr

from r2_hf_assets import activity
from r2_hf_assets.dagster_internals import HIDDEN_TAG_PREFIX, StepEventStatus

ALIVE_TAG = f"{HIDDEN_TAG_PREFIX}r2_hf_assets/alive"
HEARTBEAT_SECONDS = 60.0
# A step in which nothing moved for so long shows no sign.
STILL_SECONDS = 60.0
# A beat that hangs in the database must not hold the end of its run.
_LAST_BEAT_SECONDS = 5.0

_log = logging.getLogger(__name__)


class RunHeartbeat(ConfigurableResource):
    """Shows that the run is alive, and knows whether it was ended from outside."""

    _ended: threading.Event = PrivateAttr(default_factory=threading.Event)

    @contextmanager
    def yield_for_execution(self, context: InitResourceContext) -> Iterator["RunHeartbeat"]:
        """Beat for as long as the run has its resources."""
        instance, this = context.instance, context.run
        assert instance is not None and this is not None
        self._ended = ended = threading.Event()

        def beat() -> bool:
            run = instance.get_run_by_id(this.run_id)
            if run is None or run.is_finished:
                ended.set()
                return False
            if activity.PROCESS.idle() <= STILL_SECONDS or not _in_a_step(instance, this.run_id):
                # Dagster reads and rewrites all of a run's tags: one that is added elsewhere right now may be lost.
                # That costs no retry: the daemon works out for itself what it finds no tag about.
                instance.add_run_tags(this.run_id, {ALIVE_TAG: datetime.now(UTC).isoformat(timespec="microseconds")})
            return True

        with send_periodically(beat, HEARTBEAT_SECONDS):
            yield self

    def raise_if_terminated(self) -> None:
        """Stop working once the run was ended from outside: what is left, a retry does or nobody wants.

        Raises:
            DagsterExecutionInterruptedError: Dagster leaves the run's end as it is and notes the interruption.
        """
        if self._ended.is_set():
            raise DagsterExecutionInterruptedError("this run was ended from outside while it worked")

    def sleep(self, seconds: float) -> None:
        """Sleep between two tries; raises like `raise_if_terminated` when the run is ended meanwhile."""
        self._ended.wait(seconds)
        self.raise_if_terminated()


def _in_a_step(instance: DagsterInstance, run_id: str) -> bool:
    """Whether a step of the run has begun and not ended."""
    return any(step.status is StepEventStatus.IN_PROGRESS for step in instance.get_run_step_stats(run_id))


@contextmanager
def send_periodically(beat: Callable[[], bool], every_s: float) -> Iterator[None]:
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
