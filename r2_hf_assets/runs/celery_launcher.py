"""dagster-celery's run launcher, with terminations that end as CANCELED.

The original sends the signal without reporting the run as CANCELING first, as other launchers do. The run then ends as
FAILURE and is retried. A run that is still queued in Celery is canceled too; the worker discards its message.

Configured in deploy/celery/dagster.yaml and imported nowhere else: it needs the extra `cluster`.
"""

import dagster as dg
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from r2_hf_assets.dagster_internals import CheckRunHealthResult, WorkerStatus


class CeleryLauncher(CeleryRunLauncher):
    """Starts runs as Celery tasks."""

    def terminate(self, run_id: str) -> bool:
        """Request the run's termination; return False if it has ended or was never submitted to Celery."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        if DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return False  # run monitoring ends it
        return super().terminate(run_id)

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return the status of the run's task: UNKNOWN, not an error, if it was never submitted."""
        if DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return CheckRunHealthResult(WorkerStatus.UNKNOWN, "not submitted to Celery")
        return super().check_run_worker_health(run)
