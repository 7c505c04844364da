"""`lost_retries`: asks again for a retry that Dagster has promised and not begun.

Dagster's daemon learns of a failed run by its failure event, and looks at it once. A run writes that event first and
its status after it: a daemon that looks in between finds a run that has not failed, and never looks again. It gives a
retry up for good, too, when the code server does not answer at that moment. Either is rare (some milliseconds of every
five seconds, a code server being restarted), and each leaves a partition undone that was to come back by itself.

So this sensor looks at the failed runs: one that Dagster's own rule would retry, and of which there is no retry after
QUIET_LOOKS looks, is reported as failed once more. The daemon then does what it would have done. A retry that did begin
is found by its parent, so none is begun twice, and a run is reported again once. Runs that had failed before the sensor
was first turned on are left as they are.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)
from dagster._core.events import RunFailureReason
from dagster._core.execution.retries import auto_reexecution_should_retry_run
from dagster._core.storage.tags import PARENT_RUN_ID_TAG, RUN_FAILURE_REASON_TAG, WILL_RETRY_TAG

LOOK_EVERY_SECONDS = 60
# The daemon looks for failures every five seconds; a minute more is patience enough.
QUIET_LOOKS = 2
# The latest failures that a look considers; also what bounds the cursor.
_LATEST = 100
_SETTLED = -1


@dataclass(frozen=True)
class Decision:
    """What is known now of each failed run (looks without a retry, or _SETTLED), and which to report again."""

    known: dict[str, int]
    again: tuple[str, ...]


def decide(unanswered: Mapping[str, bool], known: Mapping[str, int] | None, looks: int) -> Decision:
    """Count looks for the failed runs, newest first.

    Args:
        unanswered: by run id, whether a retry is due and none has begun.
        known: what the look before decided; None at the very first look, which settles all that is there.
    """
    if known is None:
        return Decision(dict.fromkeys(unanswered, _SETTLED), ())
    now: dict[str, int] = {}
    again = []
    for run, waits in unanswered.items():
        count = known.get(run, 0)
        if count == _SETTLED or not waits:
            now[run] = _SETTLED
        elif count + 1 >= looks:
            now[run] = _SETTLED
            again.append(run)
        else:
            now[run] = count + 1
    return Decision(now, tuple(again))


@sensor(minimum_interval_seconds=LOOK_EVERY_SECONDS, default_status=DefaultSensorStatus.RUNNING)
def lost_retries(context: SensorEvaluationContext) -> SensorResult:
    """Reports a failed run once more whose retry the daemon has missed, so that it begins. Starts nothing itself."""
    instance = context.instance
    if not instance.run_retries_enabled:
        return SensorResult(skip_reason="run_retries are not enabled: nothing to look after")
    known: dict[str, int] | None = json.loads(context.cursor) if context.cursor else None
    failed = {run.run_id: run for run in _failed(instance, context)}
    settled = {run_id for run_id, count in (known or {}).items() if count == _SETTLED}
    found = decide(_unanswered(instance, failed, settled), known, QUIET_LOOKS)
    for run_id in found.again:
        _report_again(instance, failed[run_id])
    waiting = sum(count > 0 for count in found.known.values())
    said = f"{len(failed)} failed runs looked at, {waiting} wait for their retry"
    return SensorResult(
        skip_reason=f"{said}; reported again: {', '.join(found.again) or 'none'}", cursor=json.dumps(found.known)
    )


def _failed(instance: DagsterInstance, context: SensorEvaluationContext) -> list[DagsterRun]:
    """The latest failed runs of this code location. Others have no origin that a retry could start from."""
    here = context.code_location_origin
    runs = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.FAILURE]), limit=_LATEST)
    return [
        run
        for run in runs
        if here is not None
        and run.remote_job_origin is not None
        and run.remote_job_origin.location_name == here.location_name
    ]


def _unanswered(
    instance: DagsterInstance, failed: Mapping[str, DagsterRun], settled: Collection[str]
) -> dict[str, bool]:
    """By run id; a settled run is not asked about again."""
    return {run_id: run_id not in settled and _waits(instance, run) for run_id, run in failed.items()}


def _waits(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Whether Dagster's own rule wants a retry, and none has begun."""
    reason = run.tags.get(RUN_FAILURE_REASON_TAG)
    if not auto_reexecution_should_retry_run(instance, run, RunFailureReason(reason) if reason else None):
        return False
    retries = instance.get_runs(RunsFilter(tags={PARENT_RUN_ID_TAG: run.run_id}), limit=1)
    # One that was made and never queued is queued by the daemon when it is told again.
    return not retries or retries[0].status is DagsterRunStatus.NOT_STARTED


def _report_again(instance: DagsterInstance, run: DagsterRun) -> None:
    # A retry that the daemon has given up is marked so; the rule above says that it need not be.
    instance.add_run_tags(run.run_id, {WILL_RETRY_TAG: "true"})
    instance.report_run_failed(run, "Reported once more: its retry was due and had not begun.")
