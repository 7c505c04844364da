"""Runs from Python: the plan and every due partition in this process, each recorded as a run of its own.

The same assets, instance and history as `dagster asset materialize` and the UI; what is saved is only the start of a
process for every chunk.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dagster import AssetKey, DagsterInstance, ExecuteInProcessResult

from r2_hf_assets.assets.history import recorded_digests
from r2_hf_assets.assets.partitions import partition_key
from r2_hf_assets.plan.chunks import Planned
from r2_hf_assets.plan.due import due
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import load

WORK_PLAN = AssetKey("work_plan")
SHARDS = AssetKey("parquet_shards")
COMMIT = AssetKey("hub_commit")

_QUIET = {"console": {"config": {"log_level": "WARNING"}}}


@dataclass(frozen=True)
class ChunkRun:
    """A finished run of one chunk. `error` is the line a user reads, None when it went well."""

    chunk: Planned
    run_id: str
    error: str | None

    @property
    def key(self) -> str:
        """en|chunk_0007"""
        return partition_key(self.chunk.language, self.chunk.number)


def run_scan(instance: DagsterInstance, languages: Sequence[str] = ()) -> str | None:
    """Materialize work_plan; returns the error's line, None when it went well."""
    ops = {"work_plan": {"config": {"languages": list(languages)}}}
    return _error(execute(instance, [WORK_PLAN], None, ops))


def due_chunks(instance: DagsterInstance) -> list[Planned]:
    """Planned chunks without a commit recorded for their digest."""
    settings = load(needs=["r2"])
    assert settings.r2 is not None
    return due(open_plan(settings.plan, settings.r2).planned(), recorded_digests(instance, COMMIT))


def run_chunks(instance: DagsterInstance, chunks: Sequence[Planned]) -> Iterator[ChunkRun]:
    """Materialize shards and commit of each chunk, one run after the other; a failed one does not stop the rest."""
    for chunk in chunks:
        result = execute(instance, [SHARDS, COMMIT], partition_key(chunk.language, chunk.number))
        yield ChunkRun(chunk, result.run_id, _error(result))


def execute(
    instance: DagsterInstance, assets: list[AssetKey], key: str | None, ops: dict[str, Any] | None = None
) -> ExecuteInProcessResult:
    """One run of `assets`, for one partition unless they have none. The console shows warnings, the run's log all."""
    from r2_hf_assets.definitions import defs  # it lists the assets, which import this package

    job = defs.resolve_implicit_job_def_def_for_assets(assets)
    assert job is not None, "the assets share one partitions definition"
    return job.execute_in_process(
        run_config={"ops": ops or {}, "loggers": _QUIET},
        instance=instance,
        partition_key=key,
        asset_selection=assets,
        raise_on_error=False,
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
