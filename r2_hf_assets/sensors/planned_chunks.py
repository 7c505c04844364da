"""`planned_chunks`: requests a run of each due partition, a few at a time, until all chunks are committed.

Due is what the history lacks (plan/due.py). A partition with a queued or running run is left alone, whatever started
it. One whose run failed waits before the next attempt; meanwhile Dagster may retry the run.

The attempts of a partition and their times are read from Dagster's runs; nothing else is stored. A requested run has
the chunk's digest and the number of the attempt as tags; its run key contains both and the dataset, so no attempt
starts twice. A chunk that the Hub lost begins with attempt 1 again; its run key contains the event of the loss.
Dagster retries a run whose process dies at once. A run whose step fails is requested again by this sensor, with backoff
and a limit (plan/dispatch.py); the tick then names the partition.

A run that a user terminated holds its chunk until a user materializes it by hand or the chunk's digest changes. A
canceled run of a backfill holds nothing: most are canceled along with their backfill. Nor does a command that Ctrl-C
ended: its chunk is requested at once.

At most twice as many runs are queued and running as may run at once (max_concurrent_runs): this keeps all slots busy,
and a run that a user launches waits behind few. While a large backfill is queued, the sensor requests nothing.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

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
from r2_hf_assets.partitions import add_partitions, partition_key, read_key, remember_languages
from r2_hf_assets.plan.chunks import ChunkRef, Name
from r2_hf_assets.plan.dispatch import (
    MAX_CONSECUTIVE_FAILURES,
    AttemptHistory,
    OpenCircuit,
    Selection,
    repeated_failure,
    select_runs,
)
from r2_hf_assets.plan.due import find_due, in_grid
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.resources import SettingsResource
from r2_hf_assets.retry import RUN_ATTEMPTS
from r2_hf_assets.runs.history import Loss, losses, recorded_digests
from r2_hf_assets.runs.outcome import ATTEMPT_TAG, DIGEST_TAG, INTERRUPTED_TAG, outcome_of, tag_of
from r2_hf_assets.settings import Settings

TICK_EVERY_S = 30
# Dagster takes some tenths of a second to create a run, and a tick times out after a minute.
PER_TICK = 20
_KEYS_PER_QUERY = 5000
_MAX_NAMED = 5


@dg.sensor(
    job=build_job,
    minimum_interval_seconds=TICK_EVERY_S,
    description="Builds and commits planned chunks: requests a run of each due partition, and again after a failure.",
)
def planned_chunks(context: dg.SensorEvaluationContext, settings: SettingsResource) -> dg.SensorResult:
    loaded, instance = settings.load(), context.instance
    # Active runs are read before the history: a run that ends in between is then busy, and not requested again.
    busy = active_partitions(instance)
    left, lost, histories = read_due(instance, loaded)
    limit = max_in_flight(instance.get_concurrency_config().run_queue_config)
    circuit = open_circuit(instance, context.sensor_name)
    selection = select_runs(
        left,
        set(busy),
        histories,
        running=len(busy),
        in_flight=limit,
        per_tick=PER_TICK,
        open_circuit=circuit,
        now=time.time(),
    )
    status = status_line(selection, len(left), f"{len(busy)} of {limit} runs", circuit.why if circuit else None)
    if not selection.runs:
        return dg.SensorResult(skip_reason=status)
    context.log.info(status)
    add_partitions(instance, (chunk.number for chunk, _ in selection.runs))  # a new database has none
    return dg.SensorResult([run_request(*run, loaded.dataset, lost) for run in selection.runs])


def read_due(
    instance: dg.DagsterInstance, settings: Settings
) -> tuple[list[ChunkRef], dict[Name, Loss], dict[Name, AttemptHistory]]:
    """Return the due chunks, those of them that the Hub lost, and the attempts of each."""
    planned = open_plan(settings.plan, settings.r2).planned()
    remember_languages(planned)  # where another machine scans too
    recorded = recorded_digests(instance, COMMIT, settings.dataset)
    due, lost = find_due(in_grid(planned, settings.plan.languages), recorded), losses(instance, recorded)
    return due, lost, attempt_histories(instance, due, lost)


def active_partitions(instance: dg.DagsterInstance) -> list[Name]:
    """Return the partition of each of our queued or running runs."""
    runs = instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))
    return [name for run in runs if (name := _partition_of(run))]


def _partition_of(run: dg.DagsterRun) -> Name | None:
    try:
        return read_key(run.tags.get(PARTITION_NAME_TAG, ""))
    except ValueError:
        return None  # a run of other assets


def attempt_histories(
    instance: dg.DagsterInstance, due: Sequence[ChunkRef], lost: Mapping[Name, Loss]
) -> dict[Name, AttemptHistory]:
    """Return the history of finished runs of each chunk; for a chunk that the Hub lost, only of later runs."""
    digests = {chunk.name: chunk.digest for chunk in due}
    keys = [str(partition_key(*name)) for name in digests]
    histories: dict[Name, AttemptHistory] = {}
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        tags = {PARTITION_NAME_TAG: keys[start : start + _KEYS_PER_QUERY]}
        for record in instance.get_run_records(dg.RunsFilter(statuses=FINISHED_STATUSES, tags=tags)):  # newest first
            run, ended = record.dagster_run, _ended(record)
            name, canceled = _partition_of(run), run.status is dg.DagsterRunStatus.CANCELED
            interrupted = run.tags.get(INTERRUPTED_TAG) == run.run_id
            holds_nothing = canceled and (interrupted or BACKFILL_ID_TAG in run.tags)
            if name is None or holds_nothing or (name in lost and ended <= lost[name].at):
                continue
            digest = tag_of(run, DIGEST_TAG)
            attempts = int(tag_of(run, ATTEMPT_TAG) or 0) if digest == digests[name] else 0
            terminated = canceled and digest in (None, digests[name])
            newest = histories.get(name) or AttemptHistory(0, ended, terminated, run.run_id)
            attempts, ended = max(newest.attempts, attempts), max(newest.ended, ended)
            histories[name] = AttemptHistory(attempts, ended, newest.terminated, newest.run_id)
    return histories


def open_circuit(instance: dg.DagsterInstance, sensor: str) -> OpenCircuit | None:
    """Return why the sensor's last runs open the circuit, or None."""
    ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    runs = dg.RunsFilter(statuses=ended, tags={SENSOR_NAME_TAG: sensor})
    records = sorted(instance.get_run_records(runs, limit=MAX_CONSECUTIVE_FAILURES), key=_ended, reverse=True)
    why = repeated_failure(outcome_of(record.dagster_run) for record in records)
    return OpenCircuit(why, _ended(records[0])) if why else None


def _ended(record: dg.RunRecord) -> float:
    return record.end_time or record.update_timestamp.timestamp()


def max_in_flight(queue: Any) -> int:
    """Return how many runs may be queued and running: twice max_concurrent_runs, or 20 without a limit."""
    at_once = queue.max_concurrent_runs if queue else -1
    return 2 * (at_once if at_once > 0 else 10)


def run_request(chunk: ChunkRef, attempt: int, dataset: str | None, lost: Mapping[Name, Loss]) -> dg.RunRequest:
    """Return the request for an attempt. This sensor retries a failed step; Dagster retries a process that died."""
    key = partition_key(*chunk.name)
    loss = lost.get(chunk.name)
    tags = {DIGEST_TAG: chunk.digest, ATTEMPT_TAG: str(attempt), RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "false"}
    run_key = f"{key} {chunk.digest}@{dataset}{f' lost {loss.event}' if loss else ''} {attempt}"
    return dg.RunRequest(run_key, partition_key=key, tags=tags)


def status_line(selection: Selection, due: int, runs: str, open_circuit: str | None) -> str:
    """Return the selection in numbers, and what a user has to do."""
    if not due:
        return "nothing is due"
    parts = [f"{due} due: {len(selection.runs)} requested now, {selection.active} active ({runs})"]
    if selection.waits:
        minutes = min(selection.waits) / 60
        parts.append(f"{len(selection.waits)} failed and are retried later, the next in {minutes:.0f} min")
    if selection.exhausted:
        status = f"failed {RUN_ATTEMPTS} times and are left: {_join_keys(selection.exhausted)}"
        parts.append(f"{len(selection.exhausted)} {status}: see their runs, then materialize them by hand")
    if selection.terminated:
        status = f"were terminated and are left: {_join_keys(selection.terminated)}"
        parts.append(f"{len(selection.terminated)} {status}: materialize them by hand to continue")
    if open_circuit:
        parts.append(f"{open_circuit}, so one run at a time is requested until one succeeds")
    return "; ".join(parts)


def _join_keys(names: Sequence[Name]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(str(partition_key(*name)) for name in names[:_MAX_NAMED]) + more
