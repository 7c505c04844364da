"""Runs of several partitions: their chunks are built one after the other, and committed together.

A chunk that fails stops none of the others. parquet_shards records what it has built and leaves what it has not in its
result's metadata; hub_commit commits and records what is there, and then fails the run with a line for every chunk that
failed, so that those are due again. A disk that is full, or a refusal, ends the building at once: what is built by then
is committed, and that makes room.

When Dagster retries such a run, all of its steps run again, because a commit alone would not build what is missing.
What earlier tries have built is then recorded again and not built again, and what they have committed is found on the
Hub.
"""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dagster import AssetExecutionContext, DagsterEventType, MaterializeResult, MetadataValue, MultiPartitionKey, Output
from dagster._core.storage.tags import RETRY_STRATEGY_TAG

from r2_hf_assets.assets.checks import LEDGER, ON_HUB, QUALITY, nothing_planned
from r2_hf_assets.assets.launch import COMMIT, SHARDS
from r2_hf_assets.assets.outcome import Outcome, closing, earlier_tries, record, record_again, unplanned
from r2_hf_assets.assets.partitions import read_key
from r2_hf_assets.assets.runs import told
from r2_hf_assets.errors import AccessError, ChunksFailed, DiskError, R2HfError, SettingsError, ShardError
from r2_hf_assets.hub.commit import CommitRecord
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.shards.ahead import AHEAD
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets.shards.store import ShardStore

# Trouble that the next chunk would only meet again.
_ENDS_BUILDING = (AccessError, DiskError, SettingsError)
_NOT_BUILT = "not_built"

Errors = dict[str, R2HfError]
Results = Iterator[MaterializeResult | Output[Any]]


def is_range(context: AssetExecutionContext) -> bool:
    """Whether the run was started for a range of partitions, be it a range of one."""
    return not context.has_partition_key


def build_range(
    context: AssetExecutionContext,
    plan: PlanStore,
    shards: ShardStore,
    build: Callable[[Chunk, MultiPartitionKey], Outcome],
    *,
    commits_too: bool,
) -> Results:
    """Build and record every chunk of the range.

    Raises:
        ChunksFailed: some failed, and no step comes after this one, or has anything to do.
    """
    errors: Errors = {}
    keys = _keys(context)
    before = earlier_tries(context, SHARDS)
    for key in keys:
        with _noting(context, key, errors):
            chunk = plan.find(*read_key(key))
            if chunk is None:
                record(context, SHARDS, key, unplanned(nothing_planned(LEDGER, *QUALITY)))
            elif key in before and before[key].digest == chunk.digest and _is_built(shards, chunk):
                context.log.info(f"{key}: built by an earlier try of this run")
                record_again(context, before[key])
            elif stopped := next((error for error in errors.values() if isinstance(error, _ENDS_BUILDING)), None):
                raise _same_again(stopped)
            else:
                outcome = build(chunk, key)
                record(context, SHARDS, key, outcome)
                if outcome.error is not None:
                    raise outcome.error
    if errors and not (commits_too and len(errors) < len(keys)):
        raise ChunksFailed(errors, len(keys))
    AHEAD.begin()
    told_on = {key: [str(error), error.transient, error.systemic] for key, error in errors.items()}
    yield from closing(context, {_NOT_BUILT: MetadataValue.json(told_on)})


def commit_range(
    context: AssetExecutionContext,
    plan: PlanStore,
    shards: ShardStore,
    chunks_per_commit: int,
    commit: Callable[[Sequence[BuildRecord]], list[CommitRecord | ShardError]],
    conclude: Callable[[BuildRecord, CommitRecord, float], Outcome],
) -> Results:
    """Commit what is built of the range, `chunks_per_commit` at a time, and record every chunk of it.

    Args:
        commit: one commit of these chunks.
        conclude: what is left to do for a committed chunk, given its share of the commit's seconds.

    Raises:
        ChunksFailed: some chunks were not built, or could not be committed.
    """
    errors: Errors = {}
    keys = _keys(context)
    not_built = _not_built(context)
    built: dict[MultiPartitionKey, BuildRecord] = {}
    for key in keys:
        with _noting(context, key, errors):
            chunk = plan.find(*read_key(key))
            if chunk is None:
                record(context, COMMIT, key, unplanned(nothing_planned(ON_HUB)))
                continue
            if key in not_built:
                raise not_built[key]
            found = shards.record(chunk.language, chunk.number)
            if found is None or found.digest != chunk.digest:
                not_built[key] = _error("not built; materialize parquet_shards for this partition", transient=True)
                raise not_built[key]
            built[key] = found
    for first in range(0, len(built), chunks_per_commit):
        together = list(built)[first : first + chunks_per_commit]
        started, records = time.monotonic(), [built[key] for key in together]
        commits = commit(records)
        seconds = _shared(time.monotonic() - started, records)
        for key, done in zip(together, commits, strict=True):
            with _noting(context, key, errors):
                if isinstance(done, ShardError):
                    raise done
                outcome = conclude(built[key], done, seconds(built[key]))
                record(context, COMMIT, key, outcome)
                if outcome.error is not None:
                    raise outcome.error
    if not_built:
        context.instance.add_run_tags(context.run.run_id, {RETRY_STRATEGY_TAG: "ALL_STEPS"})
    if errors:
        raise ChunksFailed(errors, len(keys))
    yield from closing(context, {})


def _shared(seconds: float, records: Sequence[BuildRecord]) -> Callable[[BuildRecord], float]:
    """The seconds of one commit by chunk: so the sum stays right, and so does what each says of its speed."""
    total = sum(record.bytes for record in records)
    return lambda record: seconds * (record.bytes / total if total else 1 / len(records))


def _keys(context: AssetExecutionContext) -> list[MultiPartitionKey]:
    keys = context.partition_keys
    assert all(isinstance(key, MultiPartitionKey) for key in keys)
    return list(keys)


def _is_built(shards: ShardStore, chunk: Chunk) -> bool:
    found = shards.record(chunk.language, chunk.number)
    return found is not None and found.digest == chunk.digest


@contextmanager
def _noting(context: AssetExecutionContext, key: str, errors: Errors) -> Iterator[None]:
    """Note what goes wrong with this chunk, and go on with the next."""
    try:
        yield
    except Exception as error:
        line = told(error)
        if line is None:
            context.log.error(f"{key}:\n{traceback.format_exc()}")
            line = _error(f"{type(error).__name__}: {error}", transient=True)
        else:
            context.log.error(f"{key}: {line}")
        errors[key] = line


def _error(line: str, *, transient: bool, systemic: bool = False) -> R2HfError:
    error = ShardError(line)
    error.transient, error.systemic = transient, systemic
    return error


def _same_again(error: R2HfError) -> R2HfError:
    return _error(f"not tried, because: {error}", transient=error.transient, systemic=error.systemic)


def _not_built(context: AssetExecutionContext) -> Errors:
    """The chunks that parquet_shards failed to build in this run, as its result tells. None when it ran in another."""
    for entry in context.instance.all_logs(context.run.run_id, of_type=DagsterEventType.STEP_OUTPUT):
        metadata = entry.get_dagster_event().step_output_data.metadata
        if _NOT_BUILT in metadata:
            told_on: dict[str, tuple[str, bool, bool]] = metadata[_NOT_BUILT].value
            return {
                key: _error(line, transient=transient, systemic=systemic)
                for key, (line, transient, systemic) in told_on.items()
            }
    return {}
