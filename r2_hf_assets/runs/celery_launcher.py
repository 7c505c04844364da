"""dagster-celery's run launcher, with a termination that ends as canceled.

The original only sends the signal. Dagster's run process then finds no request for its end, takes the signal for an
accident, and fails, so run retries start again what a user has just stopped. Every other launcher first reports that
the run is being canceled; so does this one. A run that no worker has taken is canceled as well: a worker that meets
its message later sees that it has ended, and drops it.

Named in deploy/celery/dagster.yaml, and imported from nowhere else: it needs the extra `cluster`.
"""

from dagster import DagsterRun
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from r2_hf_assets.dagster_internals import CheckRunHealthResult, WorkerStatus


class CeleryLauncher(CeleryRunLauncher):
    """Starts runs as Celery tasks."""

    def terminate(self, run_id: str) -> bool:
        """Ask for the run's end; False when there is none to ask for."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        if DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return False  # not yet handed to Celery; run monitoring ends it
        return super().terminate(run_id)

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """How the run's task is. One that was never handed to Celery is unknown, and no error."""
        if DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return CheckRunHealthResult(WorkerStatus.UNKNOWN, "not handed to Celery")
        return super().check_run_worker_health(run)
