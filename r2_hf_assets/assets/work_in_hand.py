"""What Dagster is working on, and how it went before: read from its runs and backfills, by a few queries.

Who started a run does not matter: a sensor, a backfill, the launchpad, `r2-hf`. A backfill counts with all partitions
that it still owes, although their runs do not exist yet.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import chain
from types import MappingProxyType

from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord, RunsFilter

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.assets.history import Loss
from r2_hf_assets.assets.metadata import DIGEST_TAG
from r2_hf_assets.assets.partitions import partition_key, read_key
from r2_hf_assets.assets.runs import end_of
from r2_hf_assets.dagster_internals import (
    BACKFILL_ID_TAG,
    BULK_ACTION_TERMINAL_STATUSES,
    FINISHED_STATUSES,
    NOT_FINISHED_STATUSES,
    PARTITION_NAME_TAG,
    SENSOR_NAME_TAG,
    BaseAssetGraph,
    BulkActionsFilter,
    BulkActionStatus,
    DagsterDefinitionChangedDeserializationError,
)
from r2_hf_assets.plan.chunks import Planned
from r2_hf_assets.plan.turns import BAD_SERIES, Braked, Name, Tried, brake

ATTEMPT_TAG = "r2_hf_assets/attempt"
# A run that failed a moment ago and is to be retried: the daemon looks every few seconds.
_RETRY_COMES_S = 600.0
_KEYS_AT_ONCE = 5000
# A backfill in these states has its runs canceled by the daemon, whoever or whatever ended it.
_CANCELS_ITS_RUNS = frozenset(
    (BulkActionStatus.CANCELING, BulkActionStatus.CANCELED, BulkActionStatus.FAILING, BulkActionStatus.FAILED)
)


@dataclass(frozen=True)
class InHand:
    """Partitions that somebody works on, and how many runs are queued or running."""

    busy: frozenset[Name]
    runs: int


def in_hand(instance: DagsterInstance, graph: BaseAssetGraph) -> InHand:
    """What is under way now, or comes again by itself."""
    just_now = datetime.now(UTC) - timedelta(seconds=_RETRY_COMES_S)
    failed = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.FAILURE], updated_after=just_now))
    runs = instance.get_runs(RunsFilter(statuses=NOT_FINISHED_STATUSES))
    ours = [name for run in runs if (name := partition_of(run))]
    retried = [name for run in failed if run.is_complete_and_waiting_to_retry and (name := partition_of(run))]
    return InHand(frozenset(chain(ours, retried, _owed_by_backfills(instance, graph))), len(ours))


def partition_of(run: DagsterRun) -> Name | None:
    """The partition that a run covers; None of a run of something else."""
    try:
        return read_key(run.tags.get(PARTITION_NAME_TAG, ""))
    except ValueError:
        return None


def _owed_by_backfills(instance: DagsterInstance, graph: BaseAssetGraph) -> Iterable[Name]:
    open_ones = [status for status in BulkActionStatus if status not in BULK_ACTION_TERMINAL_STATUSES]
    for backfill in instance.get_backfills(BulkActionsFilter(statuses=open_ones)):
        if not backfill.is_asset_backfill:
            continue
        try:
            data = backfill.get_asset_backfill_data(graph)
        except DagsterDefinitionChangedDeserializationError:
            continue  # of another code location, or of a grid that is no more
        owed = data.target_subset - (data.materialized_subset | data.failed_and_downstream_subset)
        for item in owed.iterate_asset_partitions():
            if item.asset_key in (SHARDS, COMMIT) and item.partition_key:
                yield read_key(item.partition_key)


def tried(
    instance: DagsterInstance, due: Sequence[Planned], lost: Mapping[Name, Loss] = MappingProxyType({})
) -> dict[Name, Tried]:
    """How the finished runs of these chunks went.

    Runs that were canceled along with their backfill do not count: nobody has decided anything about their chunks. Of a
    chunk that the Hub lost, runs before that do not count: they were not about what is due now.
    """
    digests = {(chunk.language, chunk.number): chunk.digest for chunk in due}
    keys = [str(partition_key(*name)) for name in digests]
    known: dict[Name, Tried] = {}
    ended_with_backfill = _ended_with_backfill(instance)
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        wanted = {PARTITION_NAME_TAG: keys[start : start + _KEYS_AT_ONCE]}
        for record in instance.get_run_records(RunsFilter(statuses=FINISHED_STATUSES, tags=wanted)):  # newest first
            run, ended = record.dagster_run, _ended(record)
            name = partition_of(run)
            if name is None or ended_with_backfill(run) or (name in lost and ended <= lost[name].at):
                continue
            mine = int(run.tags.get(ATTEMPT_TAG, "0")) if run.tags.get(DIGEST_TAG) == digests[name] else 0
            terminated = _is_canceled(run) and run.tags.get(DIGEST_TAG, digests[name]) == digests[name]
            newest = known.get(name) or Tried(0, ended, terminated)
            known[name] = Tried(max(newest.attempts, mine), max(newest.ended, ended), newest.terminated)
    return known


def _is_canceled(run: DagsterRun) -> bool:
    return run.status is DagsterRunStatus.CANCELED


def _ended_with_backfill(instance: DagsterInstance) -> Callable[[DagsterRun], bool]:
    """Whether a run was canceled because its backfill was, or failed. One query for each backfill."""

    @cache
    def ended(backfill_id: str) -> bool:
        backfill = instance.get_backfill(backfill_id)
        return backfill is not None and backfill.status in _CANCELS_ITS_RUNS

    return lambda run: _is_canceled(run) and BACKFILL_ID_TAG in run.tags and ended(run.tags[BACKFILL_ID_TAG])


def braked(instance: DagsterInstance, sensor: str) -> Braked | None:
    """Whether a sensor's last runs say that the next ones would fail alike."""
    ended = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]
    wanted = RunsFilter(statuses=ended, tags={SENSOR_NAME_TAG: sensor})
    records = sorted(instance.get_run_records(wanted, limit=BAD_SERIES), key=_ended, reverse=True)
    why = brake(end_of(record.dagster_run) for record in records)
    return Braked(why, _ended(records[0])) if why else None


def under_way(instance: DagsterInstance, asset: AssetKey, job: str) -> list[str]:
    """Queued and running runs that make this asset; `job` is the job of ours that does."""
    runs = instance.get_runs(RunsFilter(statuses=NOT_FINISHED_STATUSES))
    return [run.run_id for run in runs if run.job_name == job or asset in (run.asset_selection or ())]


def _ended(record: RunRecord) -> float:
    return record.end_time or record.update_timestamp.timestamp()
