"""`new_episodes`: finds new episodes in the bucket, and asks for a scan when there is something to plan.

A tick has TICK_S seconds: Dagster gives up on one after 60, but it would go on in the code server, beside the next.
What a tick does not finish the next one goes on with, from the cursor, which holds counts and a place, never episodes.
So a sweep through a million folders takes some ticks; when it is done, the next one begins SWEEP_EVERY_S after its end.

Which episodes are planned is kept in this process (plan/known.py, 8 MB a million), and learned anew when it starts.

A scan is asked for when a language has a full chunk of new episodes, or a remainder that has waited for
PLAN_MAX_WAIT_HOURS; it scans only the languages that are ready, as an automatic scan: by the same waiting note, so it
agrees. There is no request while any scan is queued or running. The run key names the newest scan this sensor asked
for: two ticks that don't know of each other give the same key, of which Dagster starts one run, and once that run
exists the key is another. A scan that leaves the plan as it was (it failed, say) is asked for again with growing
patience, for ever: new episodes do not stop coming.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from dagster import (
    RunConfig,
    RunRequest,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)
from dagster._core.storage.tags import SENSOR_NAME_TAG

from r2_hf_assets.assets.jobs import SCAN_JOB, scan_job
from r2_hf_assets.assets.launch import WORK_PLAN
from r2_hf_assets.assets.resources import SettingsResource
from r2_hf_assets.assets.work_in_hand import under_way
from r2_hf_assets.assets.work_plan import ScanConfig
from r2_hf_assets.bucket.client import object_store
from r2_hf_assets.bucket.listing import episode_pages, language_folders
from r2_hf_assets.plan.folders import decided_languages
from r2_hf_assets.plan.known import Known
from r2_hf_assets.plan.news import Outlook, Sweep, look, outlook
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import Settings

TICK_EVERY_S = 60
TICK_S = 20.0
# A sweep costs a class A request for every 1,000 episodes.
SWEEP_EVERY_S = 900.0
# Between requests for the same scan: 2 minutes, 4, 8, ... up to 6 hours.
AGAIN_S, AGAIN_CAP_S = 120.0, 6 * 3600.0
_ASKS_SEEN = 12
_FOR_TAG = "r2_hf_assets/scan_of"
# The tick after this one tries again anyway.
_HASTY = Retry(attempts=3, base=0.5, cap=2.0, limit=8.0, silence=10.0)

_known: dict[tuple[str, str, str], Known] = {}
_one_tick = threading.Lock()


@dataclass(frozen=True)
class Cursor:
    """What is kept between ticks. `sweep` None: none is under way. `ended`: when the last one was, in epoch seconds.
    `waited`: languages with a remainder that waited then. `said`: what it found."""

    sweep: Sweep | None = None
    ended: float = 0.0
    waited: tuple[str, ...] = ()
    said: str = ""

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """From JSON; one that can't be read begins anew, which costs a sweep and nothing else."""
        try:
            found = json.loads(text or "{}")
            sweep = Sweep(**found["sweep"]) if found.get("sweep") else None
            return cls(sweep, float(found.get("ended", 0)), tuple(found.get("waited", ())), str(found.get("said", "")))
        except (ValueError, TypeError, AttributeError, KeyError):
            return cls()

    def write(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Ask:
    """A scan that this sensor asked for: of what, how it ended, and when (epoch seconds)."""

    run_id: str
    of: str
    status: str
    ended: float


def decide(found: Outlook, of: str, asks: Sequence[Ask], now: float) -> tuple[bool, str]:
    """Whether to ask for a scan of what is ready, and why (not).

    Args:
        of: names the languages that are ready and how much of them is planned, so it changes when a scan has planned.
        asks: earlier requests of this sensor, newest first; none of them runs.
    """
    ready = ", ".join(f"{language} {count}" for language, count in found.ready.items())
    if not ready:
        return False, "nothing to plan yet"
    in_vain = 0
    for ask in asks:
        if ask.of != of:
            break
        in_vain += 1
    if in_vain:
        left = asks[0].ended + min(AGAIN_CAP_S, AGAIN_S * 2 ** (in_vain - 1)) - now
        if left > 0:
            last = f"the last ended as {asks[0].status} (run {asks[0].run_id[:8]})"
            return False, f"ready: {ready}; {in_vain} scans planned none of it, {last}; again in {_span(left)}"
    return True, f"ready: {ready}"


@sensor(job=scan_job, minimum_interval_seconds=TICK_EVERY_S)
def new_episodes(context: SensorEvaluationContext, settings: SettingsResource) -> SensorResult:
    """Finds new episodes in the bucket; asks for a scan when a chunk is full, or a remainder has waited long enough."""
    if not _one_tick.acquire(blocking=False):
        return SensorResult(skip_reason="the tick before this one still runs", cursor=context.cursor)
    try:
        return _tick(context, settings)
    finally:
        _one_tick.release()


def _tick(context: SensorEvaluationContext, settings: SettingsResource) -> SensorResult:
    end = time.monotonic() + TICK_S
    cursor = Cursor.read(context.cursor)
    loaded = settings.load("r2")
    assert loaded.r2 is not None
    running = under_way(context.instance, WORK_PLAN, SCAN_JOB)
    if running:
        said = f"{len(running)} scans are queued or running ({running[0][:8]}); looking again when they are done"
        return SensorResult(skip_reason=said, cursor=replace(cursor, sweep=None, ended=0.0).write())
    since = time.time() - cursor.ended
    if cursor.sweep is None and 0 <= since < SWEEP_EVERY_S:  # below 0: the clock was set back
        said = f"{cursor.said}; next look in {_span(SWEEP_EVERY_S - since)}"
        return SensorResult(skip_reason=said, cursor=cursor.write())
    plan = replace(open_plan(loaded.plan, loaded.r2), retry=_HASTY)
    plan.check_identity()
    sweep, said = _go_on(cursor.sweep, loaded, plan, lambda: time.monotonic() < end)
    if not sweep.done:
        return SensorResult(skip_reason=said, cursor=replace(cursor, sweep=sweep).write())
    if _chunks(plan) != sweep.chunks:
        said = f"{said}; the plan grew meanwhile, so looking again"
        return SensorResult(skip_reason=said, cursor=replace(cursor, sweep=None, ended=0.0, said=said).write())
    found = _outlook(sweep, cursor, loaded, plan)
    asks = _asks(context)
    of = hashlib.sha256(repr([(name, sweep.chunks.get(name, 0)) for name in found.ready]).encode()).hexdigest()[:16]
    yes, why = decide(found, of, asks, time.time())
    said = f"{said}; {_waits(found, loaded)}; {why}"
    done = Cursor(None, time.time(), tuple(found.waiting), said).write()
    if not yes:
        return SensorResult(skip_reason=said, cursor=done)
    context.log.info(said)
    config = RunConfig({"work_plan": ScanConfig(languages=list(found.ready), automatic=True)})
    key = f"after {asks[0].run_id if asks else 'none'}"
    return SensorResult([RunRequest(key, run_config=config, tags=_tags(found, of))], cursor=done)


def _go_on(sweep: Sweep | None, settings: Settings, plan: PlanStore, in_time: Callable[[], bool]) -> tuple[Sweep, str]:
    """As far as the time reaches; and what to say of it."""
    r2 = settings.r2
    assert r2 is not None
    sweep = sweep or Sweep(_chunks(plan))
    known = _known.setdefault((settings.plan.state_url, r2.name, r2.prefix), Known())
    if not known.learn(plan, sweep.chunks, in_time):
        return sweep, f"reading the plan: {known.chunks} of {sum(sweep.chunks.values())} chunks; goes on"
    bucket, decided = object_store(r2), decided_languages(plan)
    listed = language_folders(bucket, r2.prefix, _HASTY)
    folders = [replace(folder, language=decided.get(folder.name, folder.language)) for folder in listed]
    folders = [folder for folder in folders if folder.language in settings.plan.languages]
    sweep = look(sweep, folders, partial(episode_pages, bucket, r2.prefix, retry=_HASTY), known, in_time)
    counts = f"{sum(sweep.seen.values())} episodes seen, {sum(sweep.new.values())} not planned"
    return sweep, counts if sweep.done else f"{counts} so far; goes on behind {sweep.folder}/{sweep.after or ''}"


def _chunks(plan: PlanStore) -> dict[str, int]:
    return {language: len(numbers) for language, numbers in plan.numbers().items()}


def _outlook(sweep: Sweep, cursor: Cursor, settings: Settings, plan: PlanStore) -> Outlook:
    """Judge a finished sweep, and note in the plan what begins and what stops to wait."""
    size, now = settings.plan.episodes_per_chunk, datetime.now(UTC)
    waiting = {name: plan.waiting_since(name) for name, count in sweep.new.items() if count < size}
    hold_back = timedelta(hours=settings.plan.max_wait_hours)
    found = outlook(sweep.new, waiting, cursor.waited, size, hold_back, now)
    for language in found.begins:
        plan.set_waiting(language, now)
    for language in found.over:
        plan.set_waiting(language, None)
    return found


def _waits(found: Outlook, settings: Settings) -> str:
    if not found.waiting:
        return "none waits"
    first = min(found.waiting, key=lambda language: found.waiting[language])
    left = found.waiting[first] + timedelta(hours=settings.plan.max_wait_hours) - datetime.now(UTC)
    return f"remainders of {len(found.waiting)} languages wait to fill, {first} for {_span(left.total_seconds())} more"


def _tags(found: Outlook, of: str) -> Mapping[str, str]:
    one = {"language": next(iter(found.ready))} if len(found.ready) == 1 else {}
    return {_FOR_TAG: of, **one}


def _asks(context: SensorEvaluationContext) -> list[Ask]:
    wanted = RunsFilter(tags={SENSOR_NAME_TAG: context.sensor_name})
    records = context.instance.get_run_records(wanted, limit=_ASKS_SEEN)
    return [
        Ask(
            record.dagster_run.run_id,
            record.dagster_run.tags.get(_FOR_TAG, ""),
            record.dagster_run.status.value,
            record.end_time or record.create_timestamp.timestamp(),
        )
        for record in records
    ]


def _span(seconds: float) -> str:
    """47 s, 12 min, 3.5 h"""
    if seconds < 120:
        return f"{max(0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
