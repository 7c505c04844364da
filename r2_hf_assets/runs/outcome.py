"""What every run shares: errors as one line, how it ended, and a warning when the history is not kept.

Dagster shows an exception with its trace; an error that is meant for the user becomes a Failure whose description is
that one line. Errors that waiting does not mend are not retried: a backfill of thousands of partitions with a wrong
token fails once, not four times. A run that fails with a systemic error (errors.py) carries SYSTEMIC_TAG, by which the
sensor and `r2-hf process` slow down (plan/dispatch.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import (
    AssetCheckExecutionContext,
    AssetExecutionContext,
    DagsterRun,
    Failure,
    OpExecutionContext,
)

from r2_hf_assets.dagster_internals import RETRY_ON_ASSET_OR_OP_FAILURE_TAG
from r2_hf_assets.disk import disk_error
from r2_hf_assets.errors import R2HfError
from r2_hf_assets.plan.dispatch import RunOutcome
from r2_hf_assets.settings import hub_home

# On a run that failed of what every run would meet.
SYSTEMIC_TAG = "r2_hf_assets/systemic_failure"
# What `dagster dev` and `dagster asset materialize` name the home they make, and delete at exit, without DAGSTER_HOME.
_TEMPORARY_HOME = ".tmp_dagster_home_"


@contextmanager
def report_user_errors(
    context: OpExecutionContext | AssetExecutionContext | AssetCheckExecutionContext,
) -> Iterator[None]:
    """Turn errors meant for the user into a Failure of one line; no run retry follows where waiting mends nothing."""
    try:
        yield
    except (R2HfError, OSError) as error:
        # Our own folders are named where they are used; what a library does not name is taken for the Hub's clients'.
        line = error if isinstance(error, R2HfError) else disk_error(error, error.filename or f"HF_HOME ({hub_home()})")
        if line is None:
            raise
        tags = {} if line.transient else {RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "false"}
        if line.systemic:
            tags[SYSTEMIC_TAG] = "true"
        if tags:
            context.instance.add_run_tags(context.run.run_id, tags)
        raise Failure(description=str(line), allow_retries=line.transient) from None


def outcome_of(run: DagsterRun) -> RunOutcome:
    """How a run that succeeded or failed ended."""
    if run.is_success:
        return RunOutcome.SUCCESS
    return RunOutcome.SYSTEMIC_FAILURE if SYSTEMIC_TAG in run.tags else RunOutcome.FAILURE


def warn_if_ephemeral(context: AssetExecutionContext) -> None:
    """Warn, in the run's log, when the history ends with the process: it is the progress record."""
    instance = context.instance
    if instance.is_ephemeral or Path(instance.root_directory).name.startswith(_TEMPORARY_HOME):
        context.log.warning(
            "THIS DAGSTER INSTANCE IS NOT PERSISTENT: what is materialized now will be forgotten at exit, and done "
            "again. Set DAGSTER_HOME to a folder of its own."
        )
