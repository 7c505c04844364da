"""Errors of a step as one line, an interrupt as the cancellation of its run, and the outcome of a run.

An error meant for the user becomes a Failure, whose description Dagster shows instead of a traceback. Only transient
errors are retried. A run that fails with a systemic error (errors.py) gets SYSTEMIC_TAG, which slows dispatch down
(plan/dispatch.py).

Ctrl-C or SIGTERM of a command (`r2-hf`, `dagster asset materialize`) cancels its run and sets INTERRUPTED_TAG: the
chunk is due at once, where a run that a user terminates in the UI holds its chunk. Runs that a daemon launched are
left to Dagster, which fails and retries them.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from r2_hf_assets.dagster_internals import (
    HIDDEN_TAG_PREFIX,
    RETRY_ON_ASSET_OR_OP_FAILURE_TAG,
    RunFailureReason,
    SerializableErrorInfo,
)
from r2_hf_assets.disk import disk_error
from r2_hf_assets.errors import AccessError, R2HfError
from r2_hf_assets.plan.dispatch import RunOutcome, wait_after
from r2_hf_assets.resources import RESTART
from r2_hf_assets.retry import RUN_ATTEMPTS
from r2_hf_assets.settings import hub_home

# Of the sensor planned_chunks: the digest of the run's chunk, and the number of the attempt. The UI hides these tags.
DIGEST_TAG = f"{HIDDEN_TAG_PREFIX}r2_hf_assets.chunk_digest"
ATTEMPT_TAG = f"{HIDDEN_TAG_PREFIX}r2_hf_assets.attempt"
_OLD_TAGS = {DIGEST_TAG: "r2_hf_assets/chunk_digest", ATTEMPT_TAG: "r2_hf_assets/attempt"}
SYSTEMIC_TAG = "r2_hf_assets/systemic_failure"
# Its value is the id of the run, because a re-execution inherits tags.
INTERRUPTED_TAG = "r2_hf_assets/interrupted"
INTERRUPTED = "Interrupted by Ctrl-C or SIGTERM; what is recorded is done, the rest is due."
# Prefix of the home that Dagster's commands make without DAGSTER_HOME, and delete at exit.
_TEMPORARY_HOME = ".tmp_dagster_home_"
_OUR_ERROR = re.compile(r"^r2_hf_assets\.errors\.\w+: ")


@contextmanager
def report_user_errors(
    context: dg.OpExecutionContext | dg.AssetExecutionContext | dg.AssetCheckExecutionContext,
) -> Iterator[None]:
    """Raise errors meant for the user as a Failure of one line, retried only if transient; cancel interrupted runs.

    Logs a warning if the instance, whose history is the progress record, is not persistent.
    """
    instance = context.instance
    if instance.is_ephemeral or Path(instance.root_directory).name.startswith(_TEMPORARY_HOME):
        context.log.warning(
            "THIS DAGSTER INSTANCE IS NOT PERSISTENT: its history is deleted at exit, and the work is done again. "
            "Set DAGSTER_HOME to a folder of its own."
        )
    try:
        yield
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        run = instance.get_run_by_id(context.run.run_id)
        if run and run.status is dg.DagsterRunStatus.STARTED and run.remote_job_origin is None:
            instance.add_run_tags(run.run_id, {INTERRUPTED_TAG: run.run_id})
            instance.report_run_canceling(run, INTERRUPTED)
            raise dg.DagsterExecutionInterruptedError(INTERRUPTED) from None
        raise
    except (R2HfError, OSError) as error:
        # An OSError without a file name is the Hub client's: our own code names its files.
        line = error if isinstance(error, R2HfError) else disk_error(error, error.filename or f"HF_HOME ({hub_home()})")
        if line is None:
            raise
        tags = {} if line.transient else {RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "false"}
        if line.systemic:
            tags[SYSTEMIC_TAG] = "true"
        if tags:
            instance.add_run_tags(context.run.run_id, tags)
        if attempt := tag_of(context.run, ATTEMPT_TAG):
            context.log.info(describe_attempt(int(attempt)))
        # A wrong key or token of a run that dagster dev, or another service, launched.
        hint = f"; {RESTART}" if type(line) is AccessError and context.run.remote_job_origin else ""
        raise dg.Failure(description=f"{line}{hint}", allow_retries=line.transient) from None


def tag_of(run: dg.DagsterRun, tag: str) -> str | None:
    """Return the value of one of these tags, also where an earlier release set it."""
    return run.tags.get(tag, run.tags.get(_OLD_TAGS[tag]))


def describe_attempt(attempt: int) -> str:
    """Return what planned_chunks does after this attempt failed: Dagster's next line says that it does not retry."""
    if attempt >= RUN_ATTEMPTS:
        return f"attempt {attempt} of {RUN_ATTEMPTS}, the last one; materialize the partition by hand to try it again"
    minutes = wait_after(attempt) / 60
    return f"attempt {attempt} of {RUN_ATTEMPTS}; the sensor planned_chunks requests the next in {minutes:.0f} minutes"


def cancel_interrupted(instance: dg.DagsterInstance, run_id: str, events: Iterable[dg.DagsterEvent]) -> bool:
    """Return whether an interrupt ended the run of these events in this process, and cancel it if it is recorded as
    failed: Dagster does so when the interrupt comes between two steps.
    """
    for event in events:
        if event.event_type is dg.DagsterEventType.RUN_CANCELED:
            return True
        if event.is_run_failure and event.job_failure_data.failure_reason is RunFailureReason.UNEXPECTED_TERMINATION:
            run = instance.get_run_by_id(run_id)
            assert run is not None
            instance.add_run_tags(run_id, {INTERRUPTED_TAG: run_id})
            instance.report_run_canceled(run, INTERRUPTED)
            return True
    return False


def failure_line(events: Iterable[dg.DagsterEvent]) -> str:
    """Return why a run failed, as one line, from its events."""
    line = "the run failed; see its log"
    for event in events:
        if event.is_step_failure:
            failure = event.step_failure_data
            if failure.user_failure_data is not None and failure.user_failure_data.description:
                return failure.user_failure_data.description
            if failure.error is not None:
                return error_line(failure.error)
        elif event.is_run_failure and event.message:  # without a failed step: a process or host that died
            line = " ".join(event.message.split())
    return line


def error_line(error: SerializableErrorInfo) -> str:
    """Return the innermost cause as one line; of our own errors without their class."""
    while error.cause is not None:
        error = error.cause
    return _OUR_ERROR.sub("", error.message.strip().splitlines()[-1])


def outcome_of(run: dg.DagsterRun) -> RunOutcome:
    """Return the outcome of a run that succeeded or failed."""
    if run.is_success:
        return RunOutcome.SUCCESS
    return RunOutcome.SYSTEMIC_FAILURE if SYSTEMIC_TAG in run.tags else RunOutcome.FAILURE
