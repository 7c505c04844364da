"""`lost_runs`: ends runs whose heartbeat (run_heartbeat.py) stopped, so that Dagster's run retries start them again.

When a host dies with everything on it, nothing records that its run has failed: the run would count as in progress for
ever, and its partition as taken; so would a run whose step hangs. Dagster's run monitoring asks the launcher's process,
which died as well, and its longest runtime would also end a slow, honest run. Runs that never started, or hang while
they are canceled, are left to run monitoring (see dagster.yaml).

A run is lost when LOOKS looks in a row, a minute or more apart, found the same heartbeat. The cursor holds the one that
was seen, and no clock is read: a host whose clock is wrong, a laptop that slept, a daemon or a database that was away
for hours make no run look dead, because looks are missed along with the heartbeats. The price is that after a crash of
everything the ten minutes begin when the daemon is back.

Only runs of this code location are judged, and those from the command line or Python, which name none, when all their
assets are of this location. Dagster retries the former; the latter only stop to count as in progress.
"""

import json
from collections.abc import Mapping
from typing import NamedTuple

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

from r2_hf_assets.runs.heartbeat import ALIVE_TAG

LOOK_EVERY_SECONDS = 60
# Ten heartbeats missed: far more than a database locked by a vacuum or a host that swaps may cost.
LOOKS = 10


class Seen(NamedTuple):
    """The newest heartbeat of a run ("" for none yet), and how many looks since then found nothing newer."""

    sign: str
    quiet: int


def select_lost(signs: Mapping[str, str], seen: Mapping[str, Seen], looks: int) -> tuple[dict[str, Seen], list[str]]:
    """What is known now of each run in progress, and which of them are lost; by run id."""
    now = {run: Seen(sign, 0) for run, sign in signs.items()}
    for run, before in seen.items():
        if run in now and now[run].sign == before.sign:
            now[run] = Seen(before.sign, before.quiet + 1)
    return now, [run for run, known in now.items() if known.quiet >= looks]


@sensor(minimum_interval_seconds=LOOK_EVERY_SECONDS, default_status=DefaultSensorStatus.RUNNING)
def lost_runs(context: SensorEvaluationContext) -> SensorResult:
    """Ends runs whose host died (no sign of life for ten minutes), so that they are retried. Starts nothing itself."""
    started = context.instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED]))
    signs = {run.run_id: run.tags.get(ALIVE_TAG, "") for run in started if _is_ours(run, context)}
    seen = {run_id: Seen(*known) for run_id, known in json.loads(context.cursor or "{}").items()}
    now, lost = select_lost(signs, seen, LOOKS)
    ended = [run_id for run_id in lost if _end(context.instance, run_id, now[run_id])]
    quietest = max((known.quiet for known in now.values()), default=0)
    status = f"{len(now)} runs in progress, the quietest showed no sign for {quietest} of {LOOKS} looks"
    return SensorResult(skip_reason=f"{status}; ended as lost: {', '.join(ended) or 'none'}", cursor=json.dumps(now))


def _is_ours(run: DagsterRun, context: SensorEvaluationContext) -> bool:
    if run.remote_job_origin is not None:
        here = context.code_location_origin
        return here is not None and run.remote_job_origin.location_name == here.location_name
    assert context.repository_def is not None
    ours = context.repository_def.asset_graph.get_all_asset_keys()
    return bool(run.asset_selection) and set(run.asset_selection or ()) <= set(ours)


def _end(instance: DagsterInstance, run_id: str, known: Seen) -> bool:
    """End the run as failed, unless it has ended since we looked."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.status is not DagsterRunStatus.STARTED:
        return False
    since = f"its last sign is of {known.sign}" if known.sign else "it never showed one"
    instance.report_run_failed(
        run,
        f"No sign of life for {known.quiet} looks, {LOOK_EVERY_SECONDS} s or more apart ({since}): its host or process "
        "died, its step hangs, or it lost the database. What it had finished is kept.",
    )
    return True
