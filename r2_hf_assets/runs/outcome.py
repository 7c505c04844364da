"""Errors of a step as one line, and the outcome of a run.

An error meant for the user becomes a Failure, whose description Dagster shows instead of a traceback. Only transient
errors are retried. A run that fails with a systemic error (errors.py) gets SYSTEMIC_TAG, which slows dispatch down
(plan/dispatch.py).
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from r2_hf_assets.dagster_internals import RETRY_ON_ASSET_OR_OP_FAILURE_TAG, SerializableErrorInfo
from r2_hf_assets.disk import disk_error
from r2_hf_assets.errors import R2HfError
from r2_hf_assets.plan.dispatch import RunOutcome
from r2_hf_assets.settings import hub_home

SYSTEMIC_TAG = "r2_hf_assets/systemic_failure"
# Prefix of the home that Dagster's commands make without DAGSTER_HOME, and delete at exit.
_TEMPORARY_HOME = ".tmp_dagster_home_"
_OUR_ERROR = re.compile(r"^r2_hf_assets\.errors\.\w+: ")


@contextmanager
def report_user_errors(
    context: dg.OpExecutionContext | dg.AssetExecutionContext | dg.AssetCheckExecutionContext,
) -> Iterator[None]:
    """Raise errors meant for the user as a Failure of one line, retried only if transient.

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
        raise dg.Failure(description=str(line), allow_retries=line.transient) from None


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
