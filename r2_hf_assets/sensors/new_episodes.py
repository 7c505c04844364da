"""`new_episodes`: finds unplanned episodes in the bucket, and requests a scan when they fill a chunk.

A tick lists folders page by page for LIST_S seconds (Dagster ends a tick after 60), then subtracts the episodes in the
manifests of the listed languages. Only the cursor is kept between ticks: counts, and the position where the next tick
continues. A sweep of a million folders takes some ticks; the next one begins SWEEP_EVERY_S after its end.

Folder rules, languages and waiting times are those of an automatic scan, so a request is made for what it would plan: a
full chunk of new episodes, or a remainder that has waited PLAN_MAX_WAIT_HOURS.

No scan is requested while one is queued or running. The run key contains the counts and the hour, and Dagster starts a
run key once: a scan that failed, or left the same episodes unplanned, is requested again after an hour at most.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import BaseModel

from r2_hf_assets.asset_keys import WORK_PLAN
from r2_hf_assets.assets.work_plan import ScanConfig
from r2_hf_assets.bucket.listing import list_episode_pages, list_language_folders
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.dagster_internals import NOT_FINISHED_STATUSES
from r2_hf_assets.errors import R2HfError
from r2_hf_assets.jobs import SCAN_JOB, scan_job
from r2_hf_assets.plan.amendments import removals_of
from r2_hf_assets.plan.folders import decided_languages
from r2_hf_assets.plan.scan import is_held_back
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.resources import SettingsResource
from r2_hf_assets.retry import SENSOR_RETRY
from r2_hf_assets.settings import ScanSettings

TICK_EVERY_S, LIST_S = 60, 20.0
SWEEP_EVERY_S = 900.0  # a sweep costs a class A request per 1,000 episodes
REPEAT_S = 3600


class Cursor(BaseModel, frozen=True):
    """The state between ticks. `folder` is "" between sweeps; `after` is None when the folder is done.

    `chunks`: in the plan when the sweep began. `ended` (epoch seconds) and `status` are of the last complete sweep.
    """

    folder: str = ""
    after: str | None = ""
    chunks: int = 0
    seen: int = 0
    new: dict[str, int] = {}
    ended: float = 0.0
    status: str = ""


@dg.sensor(
    job=scan_job,
    minimum_interval_seconds=TICK_EVERY_S,
    description="Lists the bucket every 15 minutes, and requests a scan when new episodes fill a chunk or have waited "
    "PLAN_MAX_WAIT_HOURS. A tick a minute continues the listing of a large bucket, or waits for the next one.",
)
def new_episodes(context: dg.SensorEvaluationContext, settings: SettingsResource) -> dg.SensorResult:
    cursor = Cursor.model_validate_json(context.cursor or "{}")
    try:
        return _tick(context, settings.load_for_scan(), cursor, time.time())
    except R2HfError as error:
        if not error.transient:
            raise
        return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)


def _tick(context: dg.SensorEvaluationContext, settings: ScanSettings, cursor: Cursor, now: float) -> dg.SensorResult:
    runs = context.instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))
    if scans := [run for run in runs if run.job_name == SCAN_JOB or WORK_PLAN in (run.asset_selection or ())]:
        return _skip(f"{len(scans)} scans are queued or running ({scans[0].run_id[:8]}); sweeping again then", Cursor())
    since = now - cursor.ended
    if not cursor.folder and 0 <= since < SWEEP_EVERY_S:  # below 0: the clock was set back
        wait = (SWEEP_EVERY_S - since) / 60
        return _skip(f"next sweep in {wait:.0f} min; the last one, {since / 60:.0f} min ago: {cursor.status}", cursor)
    plan = replace(open_plan(settings.plan, settings.r2), retry=SENSOR_RETRY)
    plan.check_identity()
    sweep = _continue_sweep(cursor, settings, plan)
    if cursor.folder and sweep.chunks != cursor.chunks:
        return _skip(f"the plan went from {cursor.chunks} to {sweep.chunks} chunks meanwhile; sweeping again", Cursor())
    status = f"{sweep.seen} episodes listed, {sum(sweep.new.values())} in no chunk"
    if sweep.folder:
        return _skip(f"{status} so far; continues in {sweep.folder}/ after {sweep.after or 'its end'}", sweep)
    size, hold_back = settings.plan.episodes_per_chunk, timedelta(hours=settings.plan.max_wait_hours)
    rest = [language for language, count in sweep.new.items() if count < size]
    held = {language for language in rest if is_held_back(language, plan, hold_back, datetime.now(UTC))}
    ready = {language: count for language, count in sorted(sweep.new.items()) if language not in held}
    status = f"{status}; {len(held)} languages wait to fill one; ready: {_counts(ready) or 'none'}"
    done = Cursor(ended=now, status=status)
    if not ready:
        return _skip(status, done)
    context.log.info(status)
    config = dg.RunConfig({"work_plan": ScanConfig(languages=list(ready), automatic=True)})
    run_key = f"{_counts(ready)} beside {sweep.chunks} chunks, hour {now // REPEAT_S:.0f}"
    return dg.SensorResult([dg.RunRequest(run_key, run_config=config)], cursor=done.model_dump_json())


def _continue_sweep(cursor: Cursor, settings: ScanSettings, plan: PlanStore) -> Cursor:
    """List further folders and count unplanned episodes. Manifests are read last, so planned ones are not counted."""
    listed, folder, after = _list_folders(cursor, settings, plan)
    seen, new, numbers = cursor.seen + sum(map(len, listed.values())), Counter(cursor.new), plan.numbers()
    removed = removals_of(plan.amendments()).episodes
    for language, names in listed.items():
        names.difference_update(removed)
        for chunk in plan.read_many((language, number) for number in numbers.get(language, ())):
            names.difference_update(chunk.episodes)
        new[language] += len(names)
    return Cursor(folder=folder, after=after, chunks=sum(map(len, numbers.values())), seen=seen, new=+new)


def _list_folders(
    cursor: Cursor, settings: ScanSettings, plan: PlanStore
) -> tuple[dict[str, set[str]], str, str | None]:
    """List for LIST_S, at least one page: episodes by language, the next cursor's `folder` ("": end) and `after`."""
    r2, end, decided = settings.r2, time.monotonic() + LIST_S, decided_languages(plan)
    bucket = Bucket(r2)
    listed: dict[str, set[str]] = defaultdict(set)
    for folder in sorted(list_language_folders(bucket, r2.prefix, SENSOR_RETRY), key=lambda folder: folder.name):
        language = decided.get(folder.name, folder.language)
        after = cursor.after if folder.name == cursor.folder else ""
        if folder.name < cursor.folder or after is None or language not in settings.plan.languages:
            continue
        for names, position in list_episode_pages(bucket, r2.prefix, folder.name, after, SENSOR_RETRY):
            listed[language].update(f"{folder.name}/{name}" for name in names)
            if time.monotonic() >= end:
                return listed, folder.name, position
    return listed, "", ""


def _skip(status: str, cursor: Cursor) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=status, cursor=cursor.model_dump_json())


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{language} {count}" for language, count in counts.items())
