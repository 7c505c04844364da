"""`new_episodes`: looks for episodes in the bucket that no chunk has, and requests a scan when a plan of them is due.

A tick lists folders page by page for LIST_S seconds (Dagster ends a tick after 60), then reads the manifests of the
languages that it met and subtracts their members. So memory holds the names that one tick listed, and nothing is kept
between ticks but the cursor: counts, and a place behind which the next tick goes on. A sweep of a million folders takes
some ticks; the next sweep begins SWEEP_EVERY_S after its end.

Which folders can be read, what language they have and how long a remainder waits are the scan's own functions, so it
requests what an automatic scan plans: a full chunk of new episodes, or a remainder that has waited PLAN_MAX_WAIT_HOURS.

No scan is requested while one is queued or running. The run key names what was found and the hour, and Dagster starts a
run key once: a scan that failed, or left the same episodes unplanned, is requested again after an hour at most.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from dagster import RunConfig, RunRequest, RunsFilter, SensorEvaluationContext, SensorResult, sensor
from pydantic import BaseModel

from r2_hf_assets.asset_keys import WORK_PLAN
from r2_hf_assets.assets.work_plan import ScanConfig
from r2_hf_assets.bucket.listing import list_episode_pages, list_language_folders
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.dagster_internals import NOT_FINISHED_STATUSES
from r2_hf_assets.errors import R2HfError
from r2_hf_assets.jobs import SCAN_JOB, scan_job
from r2_hf_assets.plan.folders import decided_languages
from r2_hf_assets.plan.scan import is_held_back
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.resources import SettingsResource
from r2_hf_assets.retry import SENSOR_RETRY
from r2_hf_assets.settings import ScanSettings

TICK_EVERY_S, LIST_S = 60, 20.0
SWEEP_EVERY_S = 900.0  # each costs a class A request for every 1,000 episodes
AGAIN_S = 3600


class Cursor(BaseModel, frozen=True):
    """What is kept between ticks. `folder` is "" between sweeps; `after` None: that folder is done.

    `chunks`: in the plan when the sweep began. `ended` (epoch seconds) and `status` are of the last whole sweep.
    """

    folder: str = ""
    after: str | None = ""
    chunks: int = 0
    seen: int = 0
    new: dict[str, int] = {}
    ended: float = 0.0
    status: str = ""


@sensor(job=scan_job, minimum_interval_seconds=TICK_EVERY_S)
def new_episodes(context: SensorEvaluationContext, settings: SettingsResource) -> SensorResult:
    """Finds new episodes in the bucket; requests a scan when a chunk is full, or a remainder has waited long enough."""
    cursor = Cursor.model_validate_json(context.cursor or "{}")
    try:
        return _tick(context, settings.load_for_scan(), cursor, time.time())
    except R2HfError as error:
        if not error.transient:
            raise
        return SensorResult(skip_reason=str(error), cursor=context.cursor)


def _tick(context: SensorEvaluationContext, settings: ScanSettings, cursor: Cursor, now: float) -> SensorResult:
    runs = context.instance.get_runs(RunsFilter(statuses=NOT_FINISHED_STATUSES))
    if scans := [run for run in runs if run.job_name == SCAN_JOB or WORK_PLAN in (run.asset_selection or ())]:
        return _skip(f"{len(scans)} scans are queued or running ({scans[0].run_id[:8]}); looking again then", Cursor())
    since = now - cursor.ended
    if not cursor.folder and 0 <= since < SWEEP_EVERY_S:  # below 0: the clock was set back
        return _skip(f"{cursor.status}; next look in {(SWEEP_EVERY_S - since) / 60:.0f} min", cursor)
    plan = replace(open_plan(settings.plan, settings.r2), retry=SENSOR_RETRY)
    plan.check_identity()
    sweep = _go_on(cursor, settings, plan)
    if cursor.folder and sweep.chunks != cursor.chunks:
        return _skip(f"the plan went from {cursor.chunks} to {sweep.chunks} chunks meanwhile; looking again", Cursor())
    status = f"{sweep.seen} episodes seen, {sum(sweep.new.values())} in no chunk"
    if sweep.folder:
        return _skip(f"{status} so far; goes on in {sweep.folder}/ behind {sweep.after or 'its end'}", sweep)

    size, hold_back = settings.plan.episodes_per_chunk, timedelta(hours=settings.plan.max_wait_hours)
    rest = [language for language, count in sweep.new.items() if count < size]
    held = {language for language in rest if is_held_back(language, plan, hold_back, datetime.now(UTC))}
    ready = {language: count for language, count in sorted(sweep.new.items()) if language not in held}
    status = f"{status}; {len(held)} languages wait to fill one; ready: {_counts(ready) or 'none'}"
    done = Cursor(ended=now, status=status)
    if not ready:
        return _skip(status, done)
    context.log.info(status)
    config = RunConfig({"work_plan": ScanConfig(languages=list(ready), automatic=True)})
    run_key = f"{_counts(ready)} beside {sweep.chunks} chunks, hour {now // AGAIN_S:.0f}"
    return SensorResult([RunRequest(run_key, run_config=config)], cursor=done.model_dump_json())


def _go_on(cursor: Cursor, settings: ScanSettings, plan: PlanStore) -> Cursor:
    """List on, and count what no chunk has. The manifests are read last: nothing planned before that counts as new."""
    listed, folder, after = _list(cursor, settings, plan)
    seen, new, numbers = cursor.seen + sum(map(len, listed.values())), Counter(cursor.new), plan.numbers()
    for language, names in listed.items():
        for chunk in plan.read_many((language, number) for number in numbers.get(language, ())):
            names.difference_update(chunk.episodes)
        new[language] += len(names)
    return Cursor(folder=folder, after=after, chunks=sum(map(len, numbers.values())), seen=seen, new=+new)


def _list(cursor: Cursor, settings: ScanSettings, plan: PlanStore) -> tuple[dict[str, set[str]], str, str | None]:
    """List on for LIST_S, one page at least: episodes by language, and the new cursor's folder ("": the end), after."""
    r2, end, decided = settings.r2, time.monotonic() + LIST_S, decided_languages(plan)
    bucket = Bucket(r2)
    listed: dict[str, set[str]] = defaultdict(set)
    for folder in sorted(list_language_folders(bucket, r2.prefix, SENSOR_RETRY), key=lambda folder: folder.name):
        language = decided.get(folder.name, folder.language)
        after = cursor.after if folder.name == cursor.folder else ""
        if folder.name < cursor.folder or after is None or language not in settings.plan.languages:
            continue
        for names, place in list_episode_pages(bucket, r2.prefix, folder.name, after, SENSOR_RETRY):
            listed[language].update(f"{folder.name}/{name}" for name in names)
            if time.monotonic() >= end:
                return listed, folder.name, place
    return listed, "", ""


def _skip(status: str, cursor: Cursor) -> SensorResult:
    return SensorResult(skip_reason=status, cursor=cursor.model_dump_json())


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{language} {count}" for language, count in counts.items())
