"""`planned_chunks`: asks for a run of each planned partition that is due, a few at a time, until all is committed.

Due is what the history lacks (plan/due.py); cells that the plan does not fill are never asked for. Whoever works on a
partition keeps this sensor from it: any queued or running run of it, a backfill that still owes it, a failed run that
Dagster is about to retry. So it goes on beside backfills and `r2-hf process`.

How often a partition was tried, and when last, is read from Dagster's runs; nothing is kept. A run that is asked for
here carries the chunk's digest and the number of the attempt, and its run key is made of them and of the dataset, so no
attempt can start twice. A chunk that the Hub lost begins with attempt 1 again, and its run key names the record of the
loss. When its process dies Dagster retries it at once; when a step fails, this sensor asks again, later and later, and
in the end not any more (plan/turns.py): then it names the partition. After a failure that every run would meet, or a
series of failures, it tries one run at a time until one succeeds.

A run that a person terminated holds its chunk until somebody materializes it by hand, or the chunk's digest changes.
Runs that were canceled along with their backfill hold nothing: their chunks are due like chunks that were never tried.

There are never more than twice as many runs queued and running as may run at once (max_concurrent_runs): enough to keep
all of them busy, and a run that a person launches waits behind few.
"""

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from dagster import RunRequest, SensorEvaluationContext, SensorResult, sensor

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.assets.history import Loss, losses, recorded_digests
from r2_hf_assets.assets.jobs import build_job
from r2_hf_assets.assets.metadata import DIGEST_TAG
from r2_hf_assets.assets.partitions import PLAN_CHUNK, chunk_key, chunk_tags, partition_key, plan_chunk_partitions
from r2_hf_assets.assets.resources import SettingsResource
from r2_hf_assets.assets.work_in_hand import ATTEMPT_TAG, braked, in_hand, tried
from r2_hf_assets.dagster_internals import RETRY_ON_ASSET_OR_OP_FAILURE_TAG
from r2_hf_assets.plan.chunks import Planned
from r2_hf_assets.plan.due import due, in_grid
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.plan.turns import Name, Turn, decide
from r2_hf_assets.retry import RUN_ATTEMPTS

TICK_EVERY_S = 30
# Dagster needs some tenths of a second to make each run, within the minute that a tick has.
PER_TICK = 20
_NAMED = 5


@sensor(job=build_job, minimum_interval_seconds=TICK_EVERY_S)
def planned_chunks(context: SensorEvaluationContext, settings: SettingsResource) -> SensorResult:
    """Builds and commits what is planned: asks for a run of each due partition, and again when one failed."""
    loaded = settings.load()
    assert context.repository_def is not None
    instance = context.instance
    # What runs is read before the history: a run that ends in between is then busy, and not done a second time.
    hand = in_hand(instance, context.repository_def.asset_graph)
    planned, _ = in_grid(open_plan(loaded.plan, loaded.r2).planned(), loaded.plan.languages)
    recorded = recorded_digests(instance, COMMIT, loaded.dataset)
    left, lost = due(planned, recorded), losses(instance, recorded)
    limit = in_flight(instance.get_concurrency_config().run_queue_config)
    turn = decide(
        left,
        hand.busy,
        tried(instance, left, lost),
        running=hand.runs,
        in_flight=limit,
        per_tick=PER_TICK,
        braked=braked(instance, context.sensor_name),
        now=time.time(),
    )
    said = line(turn, hand.runs, limit)
    if not turn.asks:
        return SensorResult(skip_reason=said)
    context.log.info(said)
    there = set(instance.get_dynamic_partitions(PLAN_CHUNK))
    new = sorted({chunk_key(chunk.number) for chunk, _ in turn.asks} - there)
    return SensorResult(
        requests(turn.asks, loaded.dataset, lost),
        dynamic_partitions_requests=[plan_chunk_partitions.build_add_request(new)] if new else [],
    )


def in_flight(queue: Any) -> int:
    """How many runs may be queued and running: twice what may run at once; 20 where nothing limits that."""
    at_once = queue.max_concurrent_runs if queue else -1
    return 2 * (at_once if at_once > 0 else 10)


def requests(
    asks: Sequence[tuple[Planned, int]],
    dataset: str | None = None,
    lost: Mapping[Name, Loss] = MappingProxyType({}),
) -> list[RunRequest]:
    """A run for each chunk. A step that fails is this sensor's to try again; a process that dies, Dagster's.

    Args:
        dataset: where the chunks are to be committed.
        lost: of chunks that the Hub lost, the record that says so.
    """
    made = []
    for chunk, attempt in asks:
        key = partition_key(chunk.language, chunk.number)
        loss = lost.get((chunk.language, chunk.number))
        since = f" lost {loss.event}" if loss else ""
        tags = {
            **chunk_tags(key),
            DIGEST_TAG: chunk.digest,
            ATTEMPT_TAG: str(attempt),
            RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "false",
        }
        # Dagster starts nothing for a run key that it has seen.
        run_key = f"{key} {chunk.digest}@{dataset}{since} {attempt}"
        made.append(RunRequest(run_key, partition_key=key, tags=tags))
    return made


def line(turn: Turn, runs: int, limit: int) -> str:
    """The turn in numbers, and what a person has to do."""
    if not turn.due:
        return "nothing is due"
    parts = [f"{turn.due} due: {len(turn.asks)} asked for now, {turn.busy} in hand ({runs} of {limit} runs)"]
    if turn.later:
        parts.append(f"{turn.later} failed and are tried again later, the next in {turn.next_s / 60:.0f} min")
    if turn.given_up:
        what = f"failed {RUN_ATTEMPTS} times and are left: {_named(turn.given_up)}"
        parts.append(f"{len(turn.given_up)} {what}: see their runs, then materialize them by hand")
    if turn.terminated:
        what = f"were terminated and are left: {_named(turn.terminated)}"
        parts.append(f"{len(turn.terminated)} {what}: materialize them by hand to go on")
    if turn.braked:
        parts.append(f"{turn.braked}, so one at a time is tried until one succeeds")
    return "; ".join(parts)


def _named(names: Sequence[Name]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(str(partition_key(*name)) for name in names[:_NAMED]) + more
