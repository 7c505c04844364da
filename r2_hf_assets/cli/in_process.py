"""Runs from Python: the plan and every due partition in this process, each recorded as a run of its own.

The same assets, instance and history as `dagster asset materialize` and the UI; what is saved is only the start of a
process for every chunk. The console shows each warning as one line:

    en|chunk_0007: rejected: 2 x audio_missing (ledger: chunk-00007.rejects.parquet)

Dagster's own console logger would add a trace of forty lines to every failure, and to Ctrl-C. The run's log keeps
those, and the caller prints in one line why the run failed.
"""

import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster import AssetKey, DagsterInstance, ExecuteInProcessResult, Field, InitLoggerContext, logger

from r2_hf_assets.asset_keys import CARD, COMMIT, SHARDS, WORK_PLAN
from r2_hf_assets.dagster_internals import PARTITION_NAME_TAG, RunFailureReason
from r2_hf_assets.errors import SettingsError
from r2_hf_assets.partitions import add_partitions, partition_key
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.plan.dispatch import MAX_CONSECUTIVE_FAILURES, RunOutcome, repeated_failure
from r2_hf_assets.plan.due import find_due, split_by_grid
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.runs.build_progress import Watch, watched_by
from r2_hf_assets.runs.history import recorded_digests
from r2_hf_assets.runs.outcome import outcome_of
from r2_hf_assets.sensors import stale_card
from r2_hf_assets.settings import load_for_scan, load_partial

_QUIET = {"console": {"config": {"log_level": "WARNING"}}}


@contextmanager
def open_instance() -> Iterator[DagsterInstance]:
    """The instance in DAGSTER_HOME, whose history is the progress record; SettingsError when it can't be that."""
    home = os.environ.get("DAGSTER_HOME", "")
    if not home:
        raise SettingsError(
            "DAGSTER_HOME is not set: progress is kept there; set it in .env to the absolute path of a folder"
        )
    if not Path(home).expanduser().is_absolute() or not Path(home).expanduser().is_dir():
        raise SettingsError(f"DAGSTER_HOME={home} is no absolute path of a folder that exists; make it, or set another")
    try:
        instance = DagsterInstance.get()
    except Exception as error:  # dagster.yaml, or the database that it names
        first_line = (str(error).splitlines() or [""])[0][:200]
        raise SettingsError(
            f"the Dagster instance in DAGSTER_HOME={home} can't be opened: {type(error).__name__}: {first_line}; "
            "r2-hf doctor tells more"
        ) from error
    with instance:
        yield instance


@dataclass(frozen=True)
class ChunkRun:
    """What became of one chunk: its `error` as a line, and `stop`, why no chunk after this one is tried.

    `run_id` is empty when there was no run, because the chunk was not due any more.
    """

    chunk: ChunkRef
    run_id: str
    error: str | None = None
    stop: str | None = None

    @property
    def key(self) -> str:
        """en|chunk_0007"""
        return partition_key(*self.chunk.name)


def run_scan(instance: DagsterInstance, languages: Sequence[str] = (), *, start_anew: bool = False) -> str | None:
    """Materialize work_plan; returns the error's line, None when it went well."""
    ops = {"work_plan": {"config": {"languages": list(languages), "start_anew": start_anew}}}
    return _error(execute(instance, [WORK_PLAN], None, ops))


def last_scan(instance: DagsterInstance) -> dict[str, Any]:
    """Numbers of the latest scan by name, as work_plan's metadata has them."""
    event = instance.get_latest_materialization_event(WORK_PLAN)
    assert event is not None and event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def due_chunks(instance: DagsterInstance) -> list[ChunkRef]:
    """Planned chunks of the grid without a commit recorded for their digest."""
    settings = load_for_scan()
    planned, _ = split_by_grid(open_plan(settings.plan, settings.r2).planned(), settings.plan.languages)
    return find_due(planned, recorded_digests(instance, COMMIT, settings.dataset))


def run_chunks(
    instance: DagsterInstance, chunks: Sequence[ChunkRef], *, only_due: bool = False, watch: Watch | None = None
) -> Iterator[ChunkRun]:
    """Materialize shards and commit of each chunk, one run after the other, until the brake (plan/dispatch.py) is on.

    Ctrl-C is recorded as the interruption of the chunk's run, and raised; the chunk is due.

    Args:
        only_due: look again right before each run, and pass over chunks that were committed meanwhile.
        watch: called with each build's running tally.
    """
    add_partitions(instance, (chunk.number for chunk in chunks))
    dataset = load_partial().dataset
    ends: deque[RunOutcome] = deque(maxlen=MAX_CONSECUTIVE_FAILURES)
    for chunk in chunks:
        key = partition_key(*chunk.name)
        if only_due and not find_due([chunk], recorded_digests(instance, COMMIT, dataset, [key])):
            yield ChunkRun(chunk, "")
            continue
        result = execute(instance, [SHARDS, COMMIT], key, watch=watch)
        error = _error(result)
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        ends.appendleft(outcome_of(run))
        stop = repeated_failure(ends) if chunk is not chunks[-1] else None
        yield ChunkRun(chunk, result.run_id, error, stop)
        if stop:
            return


def refresh_card(instance: DagsterInstance, *, at_once: bool = True, asked: float | None = None) -> str | None:
    """Materialize dataset_card if chunks were committed since the last one; unless `at_once`, not too often.

    Returns the error's line, None when it went well or no card is due.

    Args:
        asked: when a card was last tried in vain, in epoch seconds.
    """
    every_minutes = 0.0 if at_once else stale_card.EVERY_MINUTES
    if stale_card.refresh_reason(stale_card.card_state(instance, asked), every_minutes) is not None:
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
    for event in result.all_events:  # Dagster records a Ctrl-C and swallows it
        if event.is_run_failure and event.job_failure_data.failure_reason is RunFailureReason.UNEXPECTED_TERMINATION:
            raise KeyboardInterrupt
    return result


def _error(result: ExecuteInProcessResult) -> str | None:
    if result.success:
        return None
    for failure in (event.step_failure_data for event in result.all_events if event.is_step_failure):
        if failure.user_failure_data is not None and failure.user_failure_data.description:
            return failure.user_failure_data.description
        if failure.error is not None:
            return (failure.error.cause or failure.error).message.strip().splitlines()[-1]
    return "the run failed; see its log"


# The one message of its own that Dagster logs like a user's: of each step behind one that failed.
_SKIPPED = "Not executing."


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")


_say: Callable[[str], None] = _to_stderr


@contextmanager
def logging_to(say: Callable[[str], None]) -> Iterator[None]:
    """Have `say` take the console lines of this process's runs, in place of stderr."""
    global _say
    before, _say = _say, say
    try:
        yield
    finally:
        _say = before


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        about = getattr(record, "dagster_meta", {})
        line = about.get("orig_message") or record.getMessage()
        # What Dagster itself tells of the run stays in its log.
        if about.get("dagster_event") is None and not line.endswith(_SKIPPED):
            who = (about.get("job_tags") or {}).get(PARTITION_NAME_TAG) or about.get("step_key") or "run"
            _say(line if line.startswith(f"{who}: ") else f"{who}: {line}")  # of several chunks each names its own


# The name and fields of Dagster's console logger, in whose place it stands: such a run can be started again in the UI.
@logger({"log_level": Field(str, default_value="WARNING"), "name": Field(str, default_value="dagster")})
def plain_lines(context: InitLoggerContext) -> logging.Logger:
    """Warnings of a run as plain lines."""
    made = logging.Logger("r2-hf", context.logger_config["log_level"])
    made.addHandler(_Lines())
    return made
