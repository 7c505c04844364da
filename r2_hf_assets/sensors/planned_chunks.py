"""`planned_chunks`: requests a run of each planned partition that is due, a few at a time, until all is committed.

Due is what the history lacks (plan/due.py). A partition with a queued or running run is left alone, whoever launched
it: a sensor, a backfill, the launchpad, `r2-hf process`. One whose run failed a moment ago waits, and meanwhile Dagster
may retry it.

How often a partition was tried, and when last, is read from Dagster's runs; nothing is kept. A requested run carries
the chunk's digest and the number of the attempt, and its run key is made of them and of the dataset, so no attempt can
start twice. A chunk that the Hub lost begins with attempt 1 again, and its run key names the record of the loss. When
a run's process dies Dagster retries it at once; when a step fails, this sensor requests it again, later and later, and
in the end no more (plan/dispatch.py): then it names the partition.

A run that a person terminated holds its chunk until somebody materializes it by hand, or the chunk's digest changes. A
canceled run of a backfill holds nothing: most are canceled along with their backfill, which says nothing of the chunk.

At most twice as many runs are queued and running as may run at once (max_concurrent_runs): enough to keep all of them
busy, and a run that a person launches waits behind few. A large backfill queues more than that within seconds, so the
sensor requests nothing beside it.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRecord,
    RunRequest,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.dagster_internals import (
    BACKFILL_ID_TAG,
    FINISHED_STATUSES,
    NOT_FINISHED_STATUSES,
    PARTITION_NAME_TAG,
    RETRY_ON_ASSET_OR_OP_FAILURE_TAG,
    SENSOR_NAME_TAG,
)
from r2_hf_assets.jobs import build_job
from r2_hf_assets.partitions import add_partitions, chunk_tags, partition_key, read_key
from r2_hf_assets.plan.chunks import ChunkRef, Name
from r2_hf_assets.plan.dispatch import (
    MAX_CONSECUTIVE_FAILURES,
    AttemptHistory,
    OpenCircuit,
    Selection,
    repeated_failure,
    select_runs,
)
from r2_hf_assets.plan.due import find_due, split_by_grid
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.resources import SettingsResource
from r2_hf_assets.retry import RUN_ATTEMPTS
from r2_hf_assets.runs.history import Loss, losses, recorded_digests
from r2_hf_assets.runs.metadata import DIGEST_TAG
from r2_hf_assets.runs.outcome import outcome_of

TICK_EVERY_S = 30
# Dagster needs some tenths of a second to make each run, within the minute that a tick has.
PER_TICK = 20
ATTEMPT_TAG = "r2_hf_assets/attempt"
_KEYS_PER_QUERY = 5000
_NAMED = 5


@sensor(job=build_job, minimum_interval_seconds=TICK_EVERY_S)
def planned_chunks(context: SensorEvaluationContext, settings: SettingsResource) -> SensorResult:
    """Builds and commits what is planned: requests a run of each due partition, and again when one failed."""
    loaded, instance = settings.load(), context.instance
    # What runs is read before the history: a run that ends in between is then busy, and not done a second time.
    busy = running_partitions(instance)
    planned, _ = split_by_grid(open_plan(loaded.plan, loaded.r2).planned(), loaded.plan.languages)
    recorded = recorded_digests(instance, COMMIT, loaded.dataset)
    left, lost = find_due(planned, recorded), losses(instance, recorded)
    limit = in_flight(instance.get_concurrency_config().run_queue_config)
    slow = open_circuit(instance, context.sensor_name)
    turn = select_runs(
        left,
        set(busy),
        tried(instance, left, lost),
        running=len(busy),
        in_flight=limit,
        per_tick=PER_TICK,
        open_circuit=slow,
        now=time.time(),
    )
    status = line(turn, len(left), f"{len(busy)} of {limit} runs", slow.why if slow else None)
    if not turn.runs:
        return SensorResult(skip_reason=status)
    context.log.info(status)
    add_partitions(instance, (chunk.number for chunk, _ in turn.runs))  # a new database knows none
    return SensorResult(requests(turn.runs, loaded.dataset, lost))


def running_partitions(instance: DagsterInstance) -> list[Name]:
    """The partition of each queued or running run of ours."""
    runs = instance.get_runs(RunsFilter(statuses=NOT_FINISHED_STATUSES))
    return [name for run in runs if (name := _partition_of(run))]


def _partition_of(run: DagsterRun) -> Name | None:
    try:
        return read_key(run.tags.get(PARTITION_NAME_TAG, ""))
    except ValueError:
        return None  # a run of something else


def tried(instance: DagsterInstance, due: Sequence[ChunkRef], lost: Mapping[Name, Loss]) -> dict[Name, AttemptHistory]:
    """How the finished runs of these chunks went. Of a chunk that the Hub lost, only later runs count."""
    digests = {chunk.name: chunk.digest for chunk in due}
    keys = [str(partition_key(*name)) for name in digests]
    known: dict[Name, AttemptHistory] = {}
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        wanted = {PARTITION_NAME_TAG: keys[start : start + _KEYS_PER_QUERY]}
        for record in instance.get_run_records(RunsFilter(statuses=FINISHED_STATUSES, tags=wanted)):  # newest first
            run, ended = record.dagster_run, _ended(record)
            name, canceled = _partition_of(run), run.status is DagsterRunStatus.CANCELED
            if name is None or (canceled and BACKFILL_ID_TAG in run.tags) or (name in lost and ended <= lost[name].at):
                continue
            attempts = int(run.tags.get(ATTEMPT_TAG, "0")) if run.tags.get(DIGEST_TAG) == digests[name] else 0
            terminated = canceled and run.tags.get(DIGEST_TAG, digests[name]) == digests[name]
            newest = known.get(name) or AttemptHistory(0, ended, terminated)
            known[name] = AttemptHistory(max(newest.attempts, attempts), max(newest.ended, ended), newest.terminated)
    return known


def open_circuit(instance: DagsterInstance, sensor: str) -> OpenCircuit | None:
    """Whether a sensor's last runs say that the next ones would fail alike."""
    ended = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]
    wanted = RunsFilter(statuses=ended, tags={SENSOR_NAME_TAG: sensor})
    records = sorted(instance.get_run_records(wanted, limit=MAX_CONSECUTIVE_FAILURES), key=_ended, reverse=True)
    why = repeated_failure(outcome_of(record.dagster_run) for record in records)
    return OpenCircuit(why, _ended(records[0])) if why else None


def _ended(record: RunRecord) -> float:
    return record.end_time or record.update_timestamp.timestamp()


def in_flight(queue: Any) -> int:
    """How many runs may be queued and running: twice what may run at once; 20 where nothing limits that."""
    at_once = queue.max_concurrent_runs if queue else -1
    return 2 * (at_once if at_once > 0 else 10)


def requests(asks: Sequence[tuple[ChunkRef, int]], dataset: str | None, lost: Mapping[Name, Loss]) -> list[RunRequest]:
    """A run for each chunk. A step that fails is this sensor's to request again; a process that dies, Dagster's."""
    made = []
    for chunk, attempt in asks:
        key = partition_key(*chunk.name)
        loss = lost.get(chunk.name)
        tags = {
            **chunk_tags(key),
            DIGEST_TAG: chunk.digest,
            ATTEMPT_TAG: str(attempt),
            RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "false",
        }
        # Dagster starts nothing for a run key that it has seen.
        run_key = f"{key} {chunk.digest}@{dataset}{f' lost {loss.event}' if loss else ''} {attempt}"
        made.append(RunRequest(run_key, partition_key=key, tags=tags))
    return made


def line(turn: Selection, due: int, runs: str, open_circuit: str | None) -> str:
    """The turn in numbers, and what a person has to do."""
    if not due:
        return "nothing is due"
    parts = [f"{due} due: {len(turn.runs)} asked for now, {turn.active} in hand ({runs})"]
    if turn.waits:
        parts.append(f"{len(turn.waits)} failed and are tried again later, the next in {min(turn.waits) / 60:.0f} min")
    if turn.exhausted:
        what = f"failed {RUN_ATTEMPTS} times and are left: {_named(turn.exhausted)}"
        parts.append(f"{len(turn.exhausted)} {what}: see their runs, then materialize them by hand")
    if turn.terminated:
        what = f"were terminated and are left: {_named(turn.terminated)}"
        parts.append(f"{len(turn.terminated)} {what}: materialize them by hand to go on")
    if open_circuit:
        parts.append(f"{open_circuit}, so one at a time is tried until one succeeds")
    return "; ".join(parts)


def _named(names: Sequence[Name]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(str(partition_key(*name)) for name in names[:_NAMED]) + more
