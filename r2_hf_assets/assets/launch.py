"""Runs from Python: the plan and every due partition in this process, each recorded as a run of its own.

The same assets, instance and history as `dagster asset materialize` and the UI; what is saved is only the start of a
process for every chunk.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster import AssetKey, DagsterInstance, ExecuteInProcessResult

from r2_hf_assets.asset_keys import COMMIT, SHARDS, WORK_PLAN
from r2_hf_assets.assets.build_progress import Watch, watched_by
from r2_hf_assets.assets.history import recorded_digests
from r2_hf_assets.assets.lines import plain_lines
from r2_hf_assets.assets.partitions import add_partitions, partition_key
from r2_hf_assets.assets.runs import end_of, is_persistent
from r2_hf_assets.dagster_internals import RunFailureReason
from r2_hf_assets.errors import SettingsError
from r2_hf_assets.plan.chunks import Planned
from r2_hf_assets.plan.due import due, in_grid
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.plan.turns import BAD_SERIES, End, brake
from r2_hf_assets.settings import load_for_scan, load_partial

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
    with _opened(home) as instance:
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
    settings = load_for_scan()
    planned, _ = in_grid(open_plan(settings.plan, settings.r2).planned(), settings.plan.languages)
    return due(planned, recorded_digests(instance, COMMIT, settings.dataset))


def run_chunks(
    instance: DagsterInstance, chunks: Sequence[Planned], *, only_due: bool = False, watch: Watch | None = None
) -> Iterator[ChunkRun]:
    """Materialize shards and commit of each chunk, one run after the other, until the brake (plan/turns.py) is on.

    Args:
        only_due: ask again right before each run, and pass over chunks that somebody else committed meanwhile.
        watch: told of each build's progress.

    Raises:
        KeyboardInterrupt: Ctrl-C; the chunk's run is recorded as interrupted, and the chunk is due.
    """
    add_partitions(instance, (chunk.number for chunk in chunks))
    dataset = load_partial().dataset
    ends: deque[End] = deque(maxlen=BAD_SERIES)
    for chunk in chunks:
        key = partition_key(chunk.language, chunk.number)
        if only_due and not due([chunk], recorded_digests(instance, COMMIT, dataset, [key])):
            yield ChunkRun(chunk, "")
            continue
        result = execute(instance, [SHARDS, COMMIT], key, watch=watch)
        error = _error(result)
        ends.appendleft(_end(instance, result.run_id) if error else End.SUCCESS)
        stop = brake(ends) if chunk is not chunks[-1] else None
        yield ChunkRun(chunk, result.run_id, error, stop)
        if stop:
            return


def _end(instance: DagsterInstance, run_id: str) -> End:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return end_of(run)


def refresh_card(instance: DagsterInstance, *, at_once: bool = True, asked: float | None = None) -> str | None:
    """Materialize dataset_card if chunks were committed since the last one; unless `at_once`, not too often.

    Args:
        asked: when a card was last tried in vain, in epoch seconds.

    Returns the error's line, None when it went well or no card is due.
    """
    from r2_hf_assets.asset_keys import CARD
    from r2_hf_assets.assets.stale_card import EVERY_MINUTES, card_state, decide  # as in execute

    if decide(card_state(instance, asked), 0.0 if at_once else EVERY_MINUTES) is not None:
        return None
    return _error(execute(instance, [CARD], None))


def execute(
    instance: DagsterInstance,
    assets: list[AssetKey],
    key: str | None,
    ops: dict[str, Any] | None = None,
    watch: Watch | None = None,
) -> ExecuteInProcessResult:
    """One run of `assets`, for one partition unless they have none. The console shows warnings, the run's log all."""
    from r2_hf_assets.definitions import defs  # it lists the assets, which import this package

    job = defs.resolve_implicit_job_def_def_for_assets(assets)
    assert job is not None, "the assets share one partitions definition"
    with watched_by(watch):
        result = job.with_logger_defs({"console": plain_lines}).execute_in_process(
            run_config={"ops": ops or {}, "loggers": _QUIET},
            instance=instance,
            partition_key=key,
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
