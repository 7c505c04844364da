"""`new_episodes`: looks for episodes in the bucket that no chunk has, and requests a scan when a plan of them is due.

A tick lists folders page by page for LIST_S seconds (Dagster gives up on a tick after 60), then reads the manifests of
the languages that it met and subtracts their members. So memory holds the names that one tick listed, and nothing is
kept between ticks but the cursor: a place, behind which the next tick goes on, and counts. A sweep of a million folders
takes some ticks; the next sweep begins SWEEP_EVERY_S after its end.

Which folders can be read, what language they have and how long a remainder waits are the scan's own functions, so it
requests what an automatic scan plans: a full chunk of new episodes, or a remainder that has waited PLAN_MAX_WAIT_HOURS.

No scan is requested while one is queued or running. The run key names the newest scan that this sensor requested: it
repeats until that run exists and never after, whatever became of the cursor. A scan that failed is requested again
after FAILED_AGAIN_S; one that succeeded and left the same find unplanned, after REFUSED_AGAIN_S.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from dagster import DagsterRunStatus, RunConfig, RunRequest, RunsFilter, SensorEvaluationContext, SensorResult, sensor
from pydantic import BaseModel, ValidationError

from r2_hf_assets.asset_keys import WORK_PLAN
from r2_hf_assets.assets.jobs import SCAN_JOB, scan_job
from r2_hf_assets.assets.resources import SettingsResource
from r2_hf_assets.assets.work_in_hand import under_way
from r2_hf_assets.assets.work_plan import ScanConfig
from r2_hf_assets.bucket.listing import episode_pages, language_folders
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.dagster_internals import SENSOR_NAME_TAG
from r2_hf_assets.errors import R2HfError
from r2_hf_assets.plan.folders import decided_languages
from r2_hf_assets.plan.scan import is_held_back
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.retry import SENSOR_RETRY
from r2_hf_assets.settings import ScanSettings

TICK_EVERY_S, LIST_S = 60, 20.0
SWEEP_EVERY_S = 900.0  # each costs a class A request for every 1,000 episodes
FAILED_AGAIN_S, REFUSED_AGAIN_S = 3600.0, 24 * 3600.0
_FIND_TAG = "r2_hf_assets/find"


class Cursor(BaseModel, frozen=True):
    """What is kept between ticks. `folder` is "" between sweeps; `after` None: that folder is done.

    `chunks`: in the plan when the sweep began. `ended` (epoch seconds) and `said` are of the last whole sweep.
    """

    folder: str = ""
    after: str | None = ""
    chunks: int = 0
    seen: int = 0
    new: dict[str, int] = {}
    ended: float = 0.0
    said: str = ""

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """From JSON; one that can't be read begins a sweep, which costs its listing and nothing else."""
        try:
            return cls.model_validate_json(text or "{}")
        except ValidationError:
            return cls()


@dataclass(frozen=True)
class Requested:
    """The newest scan that this sensor requested: for which find, its status, and when it ended (epoch seconds)."""

    run_id: str
    find: str
    status: DagsterRunStatus
    ended: float


def decide(ready: Mapping[str, int], find: str, last: Requested | None, now: float) -> tuple[bool, str]:
    """Whether to request a scan of what is `ready` (new episodes by language), and why (not)."""
    if not ready:
        return False, "0 ready"
    said = f"ready: {_counts(ready)}"
    if last is not None:
        failed = last.status is not DagsterRunStatus.SUCCESS
        since, wait = now - last.ended, FAILED_AGAIN_S if failed else REFUSED_AGAIN_S
        if (failed or last.find == find) and 0 <= since < wait:  # below 0: the clock was set back
            how = f"ended as {last.status.value}" if failed else "planned none of it"
            return False, f"{said}; the last scan ({last.run_id[:8]}) {how}, again in {(wait - since) / 60:.0f} min"
    return True, said


@sensor(job=scan_job, minimum_interval_seconds=TICK_EVERY_S)
def new_episodes(context: SensorEvaluationContext, settings: SettingsResource) -> SensorResult:
    """Finds new episodes in the bucket; requests a scan when a chunk is full, or a remainder has waited long enough."""
    try:
        return _tick(context, settings.load_for_scan(), Cursor.read(context.cursor))
    except R2HfError as error:
        if not error.transient:
            raise
        return SensorResult(skip_reason=str(error), cursor=context.cursor)


def _tick(context: SensorEvaluationContext, settings: ScanSettings, cursor: Cursor) -> SensorResult:
    if running := under_way(context.instance, WORK_PLAN, SCAN_JOB):
        return _skip(f"{len(running)} scans are queued or running ({running[0][:8]}); looking again then", Cursor())
    since = time.time() - cursor.ended
    if not cursor.folder and 0 <= since < SWEEP_EVERY_S:
        return _skip(f"{cursor.said}; next look in {(SWEEP_EVERY_S - since) / 60:.0f} min", cursor)
    plan = replace(open_plan(settings.plan, settings.r2), retry=SENSOR_RETRY)
    plan.check_identity()
    sweep = _go_on(cursor, settings, plan)
    if cursor.folder and sweep.chunks != cursor.chunks:
        return _skip(f"the plan went from {cursor.chunks} to {sweep.chunks} chunks meanwhile; looking again", Cursor())
    said = f"{sweep.seen} episodes seen, {sum(sweep.new.values())} in no chunk"
    if sweep.folder:
        return _skip(f"{said} so far; goes on in {sweep.folder}/ behind {sweep.after or 'its end'}", sweep)

    size, hold_back = settings.plan.episodes_per_chunk, timedelta(hours=settings.plan.max_wait_hours)
    rest = [language for language, count in sweep.new.items() if count < size]
    held = {language for language in rest if is_held_back(language, plan, hold_back, datetime.now(UTC))}
    ready = {language: count for language, count in sweep.new.items() if language not in held}
    find, last = f"{sum(ready.values())} episodes beside {sweep.chunks} chunks", _last(context)
    yes, why = decide(ready, find, last, time.time())
    said = f"{said}; {len(held)} languages wait to fill one; {why}"
    done = Cursor(ended=time.time(), said=said)
    if not yes:
        return _skip(said, done)
    context.log.info(said)
    config = RunConfig({"work_plan": ScanConfig(languages=sorted(ready), automatic=True)})
    request = RunRequest(f"after {last.run_id if last else 'none'}", run_config=config, tags={_FIND_TAG: find})
    return SensorResult([request], cursor=done.model_dump_json())


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
    for folder in sorted(language_folders(bucket, r2.prefix, SENSOR_RETRY), key=lambda folder: folder.name):
        language = decided.get(folder.name, folder.language)
        after = cursor.after if folder.name == cursor.folder else ""
        if folder.name < cursor.folder or after is None or language not in settings.plan.languages:
            continue
        for names, place in episode_pages(bucket, r2.prefix, folder.name, after, SENSOR_RETRY):
            listed[language].update(f"{folder.name}/{name}" for name in names)
            if time.monotonic() >= end:
                return listed, folder.name, place
    return listed, "", ""


def _last(context: SensorEvaluationContext) -> Requested | None:
    wanted = RunsFilter(tags={SENSOR_NAME_TAG: context.sensor_name})
    for record in context.instance.get_run_records(wanted, limit=1):  # newest first
        run, ended = record.dagster_run, record.end_time or record.create_timestamp.timestamp()
        return Requested(run.run_id, run.tags.get(_FIND_TAG, ""), run.status, ended)
    return None


def _skip(said: str, cursor: Cursor) -> SensorResult:
    return SensorResult(skip_reason=said, cursor=cursor.model_dump_json())


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{language} {count}" for language, count in sorted(counts.items()))
