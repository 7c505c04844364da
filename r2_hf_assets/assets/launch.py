"""Runs from Python: the plan and every due partition in this process, each recorded as a run of its own.

The same assets, instance and history as `dagster asset materialize` and the UI; what is saved is only the start of a
process for every chunk.
"""

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dagster import AssetKey, DagsterEventType, DagsterInstance, ExecuteInProcessResult, JsonMetadataValue
from dagster._core.events import RunFailureReason

from r2_hf_assets.assets.batches import Batch, batches, chunk_order
from r2_hf_assets.assets.databases import fewer_syncs
from r2_hf_assets.assets.history import COMMIT, SHARDS, recorded_digests
from r2_hf_assets.assets.lines import plain_lines
from r2_hf_assets.assets.partitions import add_partitions, partition_key
from r2_hf_assets.assets.runs import FAILED, end_of, is_persistent
from r2_hf_assets.errors import SettingsError, ShardError
from r2_hf_assets.plan.chunks import Planned
from r2_hf_assets.plan.due import due, in_grid
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.plan.turns import BAD_SERIES, End, brake
from r2_hf_assets.settings import load
from r2_hf_assets.shards.ahead import AHEAD, Progress, building
from r2_hf_assets.shards.build import Build
from r2_hf_assets.shards.store import open_shards

WORK_PLAN = AssetKey("work_plan")

_QUIET = {"console": {"config": {"log_level": "WARNING"}}}


@contextmanager
def open_instance() -> Iterator[DagsterInstance]:
    """The instance in DAGSTER_HOME, whose history is the progress record.

    Raises:
        SettingsError: there is none that outlives this process; says what to set.
    """
    home = os.environ.get("DAGSTER_HOME", "")
    if not home:
        raise SettingsError(
            "DAGSTER_HOME is not set: progress is kept there; set it in .env to the absolute path of a folder"
        )
    if not Path(home).expanduser().is_absolute() or not Path(home).expanduser().is_dir():
        raise SettingsError(f"DAGSTER_HOME={home} is no absolute path of a folder that exists; make it, or set another")
    with fewer_syncs(), _opened(home) as instance:
        if not is_persistent(instance):
            raise SettingsError(f"DAGSTER_HOME={home} forgets what is done at exit; set it to a folder of its own")
        yield instance


def _opened(home: str) -> DagsterInstance:
    try:
        return DagsterInstance.get()
    except Exception as error:  # dagster.yaml, or the database that it names
        said = (str(error).splitlines() or [""])[0][:200]
        raise SettingsError(
            f"the Dagster instance in DAGSTER_HOME={home} can't be opened: {type(error).__name__}: {said}; "
            "r2-hf doctor tells more"
        ) from error


@dataclass(frozen=True)
class ChunkRun:
    """What became of one chunk.

    Attributes:
        run_id: the finished run; empty when there was none, because the chunk was not due any more.
        error: the line a user reads, None when it went well.
        stop: why no chunk after this one is tried; None when the next one is.
    """

    chunk: Planned
    run_id: str
    error: str | None = None
    stop: str | None = None

    @property
    def key(self) -> str:
        """en|chunk_0007"""
        return partition_key(self.chunk.language, self.chunk.number)


def run_scan(instance: DagsterInstance, languages: Sequence[str] = (), *, start_anew: bool = False) -> str | None:
    """Materialize work_plan; returns the error's line, None when it went well."""
    ops = {"work_plan": {"config": {"languages": list(languages), "start_anew": start_anew}}}
    return _error(execute(instance, [WORK_PLAN], None, ops))


def last_scan(instance: DagsterInstance) -> dict[str, Any]:
    """Numbers of the latest scan by name, as work_plan's metadata has them; empty when there was none."""
    event = instance.get_latest_materialization_event(WORK_PLAN)
    found = event.asset_materialization if event else None
    return {name: value.value for name, value in found.metadata.items()} if found else {}


def due_chunks(instance: DagsterInstance) -> list[Planned]:
    """Planned chunks of the grid without a commit recorded for their digest."""
    settings = load(needs=["r2"])
    assert settings.r2 is not None
    planned, _ = in_grid(open_plan(settings.plan, settings.r2).planned(), settings.plan.languages)
    return due(planned, recorded_digests(instance, COMMIT, settings.dataset))


def run_chunks(instance: DagsterInstance, chunks: Sequence[Planned], *, only_due: bool = False) -> Iterator[ChunkRun]:
    """Materialize shards and commit of each chunk, one run after the other, until the brake (plan/turns.py) is on.

    With CHUNKS_PER_COMMIT a run takes several that lie side by side. While one run commits, the next chunk is built
    ahead (see shards/ahead.py).

    Args:
        only_due: ask again right before each run, and pass over chunks that somebody else committed meanwhile.

    Raises:
        KeyboardInterrupt: Ctrl-C; the chunk's run is recorded as interrupted, and the chunk is due.
    """
    add_partitions(instance, (chunk.number for chunk in chunks))
    settings = load(needs=[])
    dataset, order = settings.dataset, chunk_order(instance)
    limit = settings.hub.chunks_per_commit if settings.hub else 1
    runs = deque(batches(chunks, limit, order))
    ends: deque[End] = deque(maxlen=BAD_SERIES)

    def pass_over_done() -> Iterator[ChunkRun]:
        while only_due and runs:
            batch = runs[0]
            left = due(batch.chunks, recorded_digests(instance, COMMIT, dataset, batch.keys))
            if len(left) == len(batch.chunks):
                return
            runs.popleft()
            runs.extendleft(reversed(batches(left, limit, order)))  # a range has no gap
            yield from (ChunkRun(chunk, "") for chunk in batch.chunks if chunk not in left)

    try:
        while True:
            yield from pass_over_done()
            if not runs:
                return
            batch = runs.popleft()
            yield from pass_over_done()
            if runs:
                following = runs[0].chunks[0]
                AHEAD.announce(following.digest, partial(_build, following))
            result = execute(instance, [SHARDS, COMMIT], batch.partition_key, tags=batch.tags)
            errors = _errors(instance, result, batch)
            for error in errors:
                ends.appendleft(_end(instance, result.run_id) if error else End.SUCCESS)
            stop = brake(ends) if runs else None
            for chunk, error in zip(batch.chunks, errors, strict=True):
                yield ChunkRun(chunk, result.run_id, error, stop if chunk == batch.chunks[-1] else None)
            if stop:
                return
    finally:
        AHEAD.drop()


def _end(instance: DagsterInstance, run_id: str) -> End:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return end_of(run)


@contextmanager
def _build(chunk: Planned, progress: Progress) -> Iterator[Build]:
    """Build a chunk of the plan. What goes wrong here, its own run will meet and tell."""
    settings = load(needs=["r2"])
    assert settings.r2 is not None
    found = open_plan(settings.plan, settings.r2).find(chunk.language, chunk.number)
    assert found is not None
    if open_shards(settings.shards, settings.r2).waiting(chunk.language, chunk.number, chunk.digest):
        raise ShardError("it is built and waits for its commit")
    with building(settings, found, progress) as build:
        yield build


def refresh_card(instance: DagsterInstance, *, at_once: bool = True, asked: float | None = None) -> str | None:
    """Materialize dataset_card if chunks were committed since the last one; unless `at_once`, not too often.

    Args:
        asked: when a card was last tried in vain, in epoch seconds.

    Returns the error's line, None when it went well or no card is due.
    """
    from r2_hf_assets.assets.stale_card import CARD, EVERY_MINUTES, card_state, decide  # as in execute

    if decide(card_state(instance, asked), 0.0 if at_once else EVERY_MINUTES) is not None:
        return None
    return _error(execute(instance, [CARD], None))


def execute(
    instance: DagsterInstance,
    assets: list[AssetKey],
    key: str | None,
    ops: dict[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> ExecuteInProcessResult:
    """One run of `assets`, for one partition unless they have none or `tags` name a range. The console shows warnings,
    the run's log all."""
    from r2_hf_assets.definitions import defs  # it lists the assets, which import this package

    job = defs.resolve_implicit_job_def_def_for_assets(assets)
    assert job is not None, "the assets share one partitions definition"
    result = job.with_logger_defs({"console": plain_lines}).execute_in_process(
        run_config={"ops": ops or {}, "loggers": _QUIET},
        instance=instance,
        partition_key=key,
        tags=tags,
        asset_selection=assets,
        raise_on_error=False,
    )
    if _interrupted(result):  # Dagster records it and swallows it
        raise KeyboardInterrupt
    return result


def _interrupted(result: ExecuteInProcessResult) -> bool:
    return any(
        event.is_run_failure and event.job_failure_data.failure_reason is RunFailureReason.UNEXPECTED_TERMINATION
        for event in result.all_events
    )


def _errors(instance: DagsterInstance, result: ExecuteInProcessResult, batch: Batch) -> list[str | None]:
    """The error of each chunk of a run, None for one that is committed."""
    error = _error(result)
    if error is None or len(batch.chunks) == 1:
        return [error] * len(batch.chunks)
    entries = instance.all_logs(result.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION)
    events = [entry.get_dagster_event() for entry in entries]
    committed = {event.partition for event in events if event.asset_key == COMMIT}
    failed = _failed(result)
    return [None if key in committed else failed.get(key, error) for key in batch.keys]


def _failed(result: ExecuteInProcessResult) -> dict[str, str]:
    """What a run of several chunks says of each that failed."""
    for event in result.all_events:
        if event.is_step_failure and (failure := event.step_failure_data.user_failure_data):
            found = failure.metadata.get(FAILED)
            if isinstance(found, JsonMetadataValue) and isinstance(found.data, dict):
                return found.data
    return {}


def _error(result: ExecuteInProcessResult) -> str | None:
    if result.success:
        return None
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            if failure.user_failure_data is not None and failure.user_failure_data.description:
                return failure.user_failure_data.description
            if failure.error is not None:
                cause = failure.error.cause or failure.error
                return cause.message.strip().splitlines()[-1]
    return "the run failed; see its log"
