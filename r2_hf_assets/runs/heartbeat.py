"""The heartbeat of a run: a tag with the time, written every minute while the run makes progress.

`lost_runs` ends runs whose tag stays the same, because their host died or their step hangs. The heartbeat is a
resource, because a resource lives as long as the run; every step must require it. A thread writes the tag, first after
a minute, so a short run has no cost. A write that fails is repeated a minute later. The tag is hidden in the UI.

While a step runs, the tag is written only if the process made progress in the last minute (activity.py): bytes of a
GET, a row group, a part of an upload, an attempt of a request, a wait that a server requested. Between steps, or while
the run waits for a slot of a pool, it is always written. A step may be slow, as long as it makes some progress in ten
minutes. (hf_transfer reports no progress and gets a fixed time.)

The thread also detects that the run was ended from outside: by `lost_runs` after a long outage of the database, or by a
user who forced its termination. The assets call `raise_if_terminated` between row groups and before a commit. Until
then a second run of the chunk is safe, because uploads and commits are idempotent.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg
from pydantic import PrivateAttr

from r2_hf_assets import activity
from r2_hf_assets import retry as retries
from r2_hf_assets.dagster_internals import HIDDEN_TAG_PREFIX, StepEventStatus
from r2_hf_assets.retry import Retry

ALIVE_TAG = f"{HIDDEN_TAG_PREFIX}r2_hf_assets/alive"
HEARTBEAT_SECONDS = 60.0
# No heartbeat is sent for a step without progress for so long.
IDLE_SECONDS = 60.0
# How long the end of a run waits for a heartbeat that hangs in the database.
_JOIN_SECONDS = 5.0

_log = logging.getLogger(__name__)


class RunHeartbeat(dg.ConfigurableResource):
    """Sends the run's heartbeat, and detects that the run was ended from outside."""

    _ended: threading.Event = PrivateAttr(default_factory=threading.Event)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["RunHeartbeat"]:
        """Send heartbeats as long as the run has its resources."""
        instance, this = context.instance, context.run
        assert instance is not None and this is not None
        self._ended = ended = threading.Event()

        def send() -> bool:
            run = instance.get_run_by_id(this.run_id)
            if run is None or run.is_finished:
                ended.set()
                return False
            if activity.PROCESS.idle() <= IDLE_SECONDS or not _has_active_step(instance, this.run_id):
                # Dagster reads and rewrites all tags of the run, so a tag that is added concurrently may be lost. The
                # retry daemon does not depend on one: it computes the value of a missing tag.
                instance.add_run_tags(this.run_id, {ALIVE_TAG: datetime.now(UTC).isoformat(timespec="microseconds")})
            return True

        with send_periodically(send, HEARTBEAT_SECONDS):
            yield self

    def raise_if_terminated(self) -> None:
        """Stop the step if the run was ended from outside: Dagster logs it, and keeps the run's final status."""
        if self._ended.is_set():
            raise dg.DagsterExecutionInterruptedError("this run was ended from outside while it worked")

    def sleep(self, seconds: float) -> None:
        """Sleep between two attempts; raise like `raise_if_terminated` if the run is ended meanwhile."""
        self._ended.wait(seconds)
        self.raise_if_terminated()

    def commit_retry(self) -> Retry:
        """Return the retry policy of commits, whose backoff ends with the run."""
        return replace(retries.COMMIT_RETRY, sleep=self.sleep)


def _has_active_step(instance: dg.DagsterInstance, run_id: str) -> bool:
    return any(step.status is StepEventStatus.IN_PROGRESS for step in instance.get_run_step_stats(run_id))


@contextmanager
def send_periodically(send: Callable[[], bool], every_s: float) -> Iterator[None]:
    """Call `send` in a thread every `every_s` seconds, until it returns False or the block ends."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(every_s):
            try:
                if not send():
                    return
            except Exception as error:
                _log.debug("heartbeat not sent: %s", error)

    thread = threading.Thread(target=work, name="run-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_JOIN_SECONDS)
