"""The heartbeat of a run: while its work moves, it writes a tag once a minute, so that `lost_runs` can tell a run whose
host died or whose step hangs.

It is a resource, because a resource lives as long as the run. Every asset and asset check must take it, or `lost_runs`
ends its runs as dead. A thread writes the tag. The first one comes after the first minute: a short run pays nothing.
One that can't be written (the database is locked or away) is tried again a minute later and harms nothing. The tag is
one of Dagster's hidden ones: a time that changes every minute would only be noise in the lists of runs.

While a step runs, the tag is written only when something moved in the last minute (activity.py). While none runs (the
run waits for a slot of a pool, Dagster does its own work) it is written always. A step may be as slow as it likes, as
long as something moves in ten minutes. What moves in which phase:

    scan        each request to the plan's store; the bytes of each page of a listing, its tries and their waits
    build       the bytes of each GET, its tries and their waits; each row group that is written
    upload      half a megabyte of hf_xet's, 64 kB over LFS; hf_transfer says nothing, and is given a time
    check       the audio check reads 4 MiB at the most
    commit      each request to the Hub, the bytes of its body and of its answer, its tries, a wait for the quota
    card        the same requests; its queries and pictures take seconds
    reconcile   the same requests, the ranges that are read of files on the Hub, the metadata in the bucket

Each time the thread also sees whether somebody ended the run: `lost_runs`, because the database heard nothing of it for
long, or a user who forced its termination. The assets ask `stop_if_ended` between row groups and before a commit. What
happens until then is safe: a second run of the same chunk uploads the same content, and commits by comparison.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from dagster import (
    ConfigurableResource,
    DagsterEventType,
    DagsterExecutionInterruptedError,
    DagsterInstance,
    InitResourceContext,
)
from pydantic import PrivateAttr

from r2_hf_assets import activity
from r2_hf_assets.dagster_internals import HIDDEN_TAG_PREFIX

ALIVE_TAG = f"{HIDDEN_TAG_PREFIX}r2_hf_assets/alive"
BEAT_SECONDS = 60.0
# A step in which nothing moved for so long shows no sign.
STILL_SECONDS = 60.0
_STEP_BEGINS = {DagsterEventType.STEP_START, DagsterEventType.STEP_RESTARTED}
_STEP_ENDS = {
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.STEP_SKIPPED,
    DagsterEventType.STEP_UP_FOR_RETRY,
}
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
            if activity.PROCESS.idle() > STILL_SECONDS and _in_a_step(instance, this.run_id):
                return True
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


def _in_a_step(instance: DagsterInstance, run_id: str) -> bool:
    """Whether a step of the run has begun and not ended; there is one at a time."""
    events = instance.all_logs(run_id, of_type=_STEP_BEGINS | _STEP_ENDS)
    return bool(events) and events[-1].get_dagster_event().event_type in _STEP_BEGINS


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
