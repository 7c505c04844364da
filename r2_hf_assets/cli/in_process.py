"""Runs in this process: a scan, and each due partition as a Dagster run of its own.

The assets, instance and history are those of `dagster asset materialize` and the UI; only the start of a process for
each chunk is saved. The console shows each warning as one line:

    en|chunk_0007: rejected: 2 x audio_missing (index: metadata/en/chunk-00007.parquet)

Tracebacks are in the run's log alone; the caller prints in one line why a run failed.
"""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import click
from dagster import AssetKey, DagsterInstance, ExecuteInProcessResult, Field, InitLoggerContext, logger

from r2_hf_assets.asset_keys import CARD, COMMIT, SHARDS, WORK_PLAN
from r2_hf_assets.cli.output import copy_of_stderr, print_status
from r2_hf_assets.dagster_internals import PARTITION_NAME_TAG
from r2_hf_assets.errors import SettingsError, first_line
from r2_hf_assets.partitions import add_partitions, partition_key, remember_languages
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.plan.dispatch import MAX_CONSECUTIVE_FAILURES, RunOutcome, repeated_failure
from r2_hf_assets.plan.due import find_due, in_grid
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.runs.build_progress import Watch, watched_by
from r2_hf_assets.runs.compute_logs import open_without_copies
from r2_hf_assets.runs.databases import fewer_syncs, read_migrations_once
from r2_hf_assets.runs.history import recorded_digests
from r2_hf_assets.runs.outcome import cancel_interrupted, failure_line, outcome_of
from r2_hf_assets.sensors import stale_card
from r2_hf_assets.settings import dagster_home, load_for_scan, load_partial

_QUIET = {"console": {"config": {"log_level": "WARNING"}}}


@contextmanager
def open_instance() -> Iterator[DagsterInstance]:
    """Open the instance in DAGSTER_HOME, whose history is the progress record; SettingsError when that fails."""
    home = dagster_home(os.environ.get("DAGSTER_HOME", ""))
    read_migrations_once()
    with ExitStack() as stack:
        stack.enter_context(fewer_syncs())
        try:
            instance = stack.enter_context(open_without_copies(home))
        except Exception as error:  # of dagster.yaml, or of the database that it names
            problem = f"the Dagster instance in DAGSTER_HOME={home} can't be opened: {first_line(error)}"
            raise SettingsError(f"{problem}; run r2-hf doctor") from error
        yield instance


@dataclass(frozen=True)
class ChunkRun:
    """The run of one chunk: its `error` as a line, and `stop`, why no further chunk is tried.

    `run_id` is empty when there was no run, because the chunk was no longer due.
    """

    chunk: ChunkRef
    run_id: str
    error: str | None = None
    stop: str | None = None

    @property
    def key(self) -> str:
        """The partition key, en|chunk_0007."""
        return partition_key(*self.chunk.name)


def run_scan(instance: DagsterInstance, languages: Sequence[str] = (), *, start_anew: bool = False) -> str | None:
    """Materialize work_plan; returns the error as a line, or None."""
    ops = {"work_plan": {"config": {"languages": list(languages), "start_anew": start_anew}}}
    return _error(execute(instance, [WORK_PLAN], None, ops))


def last_scan(instance: DagsterInstance) -> dict[str, Any]:
    """Return the metadata of the latest scan by name."""
    event = instance.get_latest_materialization_event(WORK_PLAN)
    assert event is not None and event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def planned_chunks() -> list[ChunkRef]:
    """Return the planned chunks of LANGUAGES."""
    settings = load_for_scan()
    planned = open_plan(settings.plan, settings.r2).planned()
    remember_languages(planned)
    return in_grid(planned, settings.plan.languages)


def due_chunks(instance: DagsterInstance) -> list[ChunkRef]:
    """Return the planned chunks that have no recorded commit of their digest."""
    return find_due(planned_chunks(), recorded_digests(instance, COMMIT, load_partial().dataset))


def run_chunks(
    instance: DagsterInstance, chunks: Sequence[ChunkRef], *, only_due: bool = False, watch: Watch | None = None
) -> Iterator[ChunkRun]:
    """Build and commit the chunks, one run after the other, until failures repeat (plan/dispatch.py).

    Ctrl-C is recorded as the interruption of the chunk's run, and raised; the chunk stays due.

    Args:
        only_due: check each chunk again right before its run, and skip it if it was committed meanwhile.
        watch: called with each build's running tally.
    """
    add_partitions(instance, (chunk.number for chunk in chunks))
    dataset = load_partial().dataset
    outcomes: deque[RunOutcome] = deque(maxlen=MAX_CONSECUTIVE_FAILURES)
    for chunk in chunks:
        key = partition_key(*chunk.name)
        if only_due and not find_due([chunk], recorded_digests(instance, COMMIT, dataset, [key])):
            yield ChunkRun(chunk, "")
            continue
        result = execute(instance, [SHARDS, COMMIT], key, watch=watch)
        error = _error(result)
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        outcomes.appendleft(outcome_of(run))
        stop = repeated_failure(outcomes) if chunk is not chunks[-1] else None
        yield ChunkRun(chunk, result.run_id, error, stop)
        if stop:
            return


def refresh_card(instance: DagsterInstance, *, at_once: bool = True, failed_at: float | None = None) -> str | None:
    """Materialize dataset_card if chunks were committed since; unless `at_once`, at most every half hour.

    Args:
        failed_at: when the card last failed, in epoch seconds.

    Returns:
        The error as a line; None when there was none, or no card is due.
    """
    every_minutes = 0.0 if at_once else stale_card.EVERY_MINUTES
    if stale_card.refresh_reason(stale_card.card_state(instance, failed_at), every_minutes) is not None:
        return None
    return _error(execute(instance, [CARD], None))


def renew_card(instance: DagsterInstance) -> str | None:
    """Materialize dataset_card if it ever was, whatever is new; returns the error as a line, or None."""
    return _error(execute(instance, [CARD], None)) if instance.get_latest_materialization_event(CARD) else None


def execute(
    instance: DagsterInstance,
    assets: list[AssetKey],
    key: str | None,
    ops: dict[str, Any] | None = None,
    watch: Watch | None = None,
) -> ExecuteInProcessResult:
    """Run `assets`, for the partition `key` if they have partitions. The console shows warnings only."""
    from r2_hf_assets.definitions import defs  # here, because other commands do without it

    job = defs.resolve_implicit_job_def_def_for_assets(assets)
    assert job is not None, "the assets share one partitions definition"
    with watched_by(watch), _console_of_its_own():
        result = job.with_logger_defs({"console": console_logger}).execute_in_process(
            run_config={"ops": ops or {}, "loggers": _QUIET},
            instance=instance,
            partition_key=key,
            asset_selection=assets,
            raise_on_error=False,
        )
    if cancel_interrupted(instance, result.run_id, result.all_events):  # Dagster records a Ctrl-C and swallows it
        raise KeyboardInterrupt
    return result


def _error(result: ExecuteInProcessResult) -> str | None:
    return None if result.success else failure_line(result.all_events)


# Dagster logs this of each step after a failed one, and unlike its other messages without an event.
_SKIPPED = "Not executing."


_write_line: Callable[[str], None] = print_status


@contextmanager
def redirect_console(write_line: Callable[[str], None]) -> Iterator[None]:
    """Pass the console lines of this process's runs to `write_line` and not to stderr."""
    global _write_line
    before, _write_line = _write_line, write_line
    try:
        yield
    finally:
        _write_line = before


@contextmanager
def _console_of_its_own() -> Iterator[None]:
    """Write console lines past a step's stderr, which goes to a file; a redirected console stays so."""
    if _write_line is not print_status:
        yield
        return
    with copy_of_stderr() as stderr, redirect_console(lambda line: click.echo(line, file=stderr)):
        yield


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", {})
        line = meta.get("orig_message") or record.getMessage()
        if meta.get("dagster_event") is None and not line.endswith(_SKIPPED):  # no message of Dagster's own
            source = (meta.get("job_tags") or {}).get(PARTITION_NAME_TAG) or meta.get("step_key") or "run"
            _write_line(line if line.startswith(f"{source}: ") else f"{source}: {line}")


# It has the fields of Dagster's console logger, so that the UI can launch such a run again.
@logger({"log_level": Field(str, default_value="WARNING"), "name": Field(str, default_value="dagster")})
def console_logger(context: InitLoggerContext) -> logging.Logger:
    """Warnings of a run as plain lines."""
    lines = logging.Logger("r2-hf", context.logger_config["log_level"])
    lines.addHandler(_Lines())
    return lines
