"""`lost_runs`: ends runs whose heartbeat (runs/heartbeat.py) stopped, so that Dagster's run retries start them again.

When a host dies, nothing records the failure of its runs: they would stay STARTED forever, and their partitions busy.
So would a run whose step hangs. Dagster's run monitoring queries the launcher's process, which died too, and its
maximum runtime would also end slow runs. Runs that never start or hang in CANCELING are left to it (dagster.yaml).

A run is lost if its heartbeat is unchanged in MAX_UNCHANGED consecutive ticks, a minute or more apart. The cursor holds
the last heartbeat of each run. No clock is compared, so a wrong clock, a suspended laptop, or an outage of daemon or
database ends no run: ticks are missed along with heartbeats. After a crash of the daemon's host too, the ten minutes
begin when the daemon is back.

Only runs of this code location are checked, and runs of the command line or Python, which have no location, if all
their assets are of this one. Dagster retries the former; the latter only end.
"""

import json
from collections.abc import Mapping
from typing import NamedTuple

import dagster as dg

from r2_hf_assets.runs.heartbeat import ALIVE_TAG

TICK_EVERY_SECONDS = 60
# Ten missed heartbeats: more than a database locked by a vacuum or a host that swaps may miss.
MAX_UNCHANGED = 10


class Observed(NamedTuple):
    """The newest heartbeat of a run ("" for none yet), and in how many ticks since then it was unchanged."""

    heartbeat: str
    unchanged: int


def select_lost(
    heartbeats: Mapping[str, str], observed: Mapping[str, Observed], max_unchanged: int
) -> tuple[dict[str, Observed], list[str]]:
    """Return the updated observation of each run in progress, and the ids of the lost runs."""
    now = {run: Observed(heartbeat, 0) for run, heartbeat in heartbeats.items()}
    for run, before in observed.items():
        if run in now and now[run].heartbeat == before.heartbeat:
            now[run] = Observed(before.heartbeat, before.unchanged + 1)
    return now, [run for run, current in now.items() if current.unchanged >= max_unchanged]


@dg.sensor(
    minimum_interval_seconds=TICK_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends runs without a heartbeat for ten minutes, so that they are retried. Starts none itself.",
)
def lost_runs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    started = context.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    heartbeats = {run.run_id: run.tags.get(ALIVE_TAG, "") for run in started if _is_ours(run, context)}
    observed = {run_id: Observed(*values) for run_id, values in json.loads(context.cursor or "{}").items()}
    now, lost = select_lost(heartbeats, observed, MAX_UNCHANGED)
    ended = [run_id for run_id in lost if _end(context.instance, run_id, now[run_id])]
    oldest = max((current.unchanged for current in now.values()), default=0)
    status = f"{len(now)} runs in progress, the oldest heartbeat unchanged for {oldest} of {MAX_UNCHANGED} ticks"
    return dg.SensorResult(skip_reason=f"{status}; ended as lost: {', '.join(ended) or 'none'}", cursor=json.dumps(now))


def _is_ours(run: dg.DagsterRun, context: dg.SensorEvaluationContext) -> bool:
    if run.remote_job_origin is not None:
        here = context.code_location_origin
        return here is not None and run.remote_job_origin.location_name == here.location_name
    assert context.repository_def is not None
    ours = context.repository_def.asset_graph.get_all_asset_keys()
    return bool(run.asset_selection) and set(run.asset_selection or ()) <= set(ours)


def _end(instance: dg.DagsterInstance, run_id: str, observed: Observed) -> bool:
    """End the run as failed; return False if it has ended meanwhile."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.status is not dg.DagsterRunStatus.STARTED:
        return False
    last = f"the last one is of {observed.heartbeat}" if observed.heartbeat else "it never sent one"
    instance.report_run_failed(
        run,
        f"No heartbeat in {observed.unchanged} ticks, {TICK_EVERY_SECONDS} s or more apart ({last}): the host or "
        "process died, the step hangs, or the database was unreachable. Finished steps are kept.",
    )
    return True
