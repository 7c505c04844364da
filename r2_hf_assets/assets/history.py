"""Progress, read from Dagster's materialization history: which chunk each partition was last materialized for.

The digest is the materialization's data version, because that is the one tag that Dagster indexes: the latest one of
every partition is a single query.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    EventLogRecord,
)
from dagster._core.definitions.data_version import DATA_VERSION_IS_USER_PROVIDED_TAG, DATA_VERSION_TAG

from r2_hf_assets.assets.partitions import partition_key, read_key
from r2_hf_assets.plan.due import UNPLANNED, lost
from r2_hf_assets.plan.store import PlanStore

# Records read by one query: some kilobytes each, so a few megabytes in memory at once.
PAGE = 1000

_PARTITIONED = (AssetKey("parquet_shards"), AssetKey("hub_commit"))


def recorded_digests(
    instance: DagsterInstance, asset: AssetKey, keys: Sequence[str] | None = None
) -> dict[tuple[str, int], str | None]:
    """Digest of the latest materialization by (language, chunk number): one query for all partitions, or these."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        asset, DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG], asset_partitions=keys
    )
    return {read_key(key): found.get(DATA_VERSION_TAG) for key, found in tags.items()}


def latest_ids(instance: DagsterInstance, asset: AssetKey) -> Mapping[str, int]:
    """Event id of the latest materialization by partition key: one query."""
    return instance.event_log_storage.get_latest_storage_id_by_partition(asset, DagsterEventType.ASSET_MATERIALIZATION)


def materializations(
    instance: DagsterInstance, asset: AssetKey, ids: Mapping[str, int]
) -> Iterator[tuple[tuple[str, int], AssetMaterialization, EventLogRecord]]:
    """The materializations with these event ids, each with its (language, chunk number); a query for every PAGE."""
    numbers = sorted(ids.values())
    for first in range(0, len(numbers), PAGE):
        wanted = AssetRecordsFilter(asset, storage_ids=numbers[first : first + PAGE])
        for record in instance.fetch_materializations(wanted, limit=PAGE).records:
            event = record.asset_materialization
            if event is not None and event.partition is not None:
                yield read_key(event.partition), event, record


@dataclass(frozen=True)
class Commit:
    """The latest record of a chunk's commit: when, in Unix seconds, its hours of audio, and whether a run made it.

    `hours` is None for what was found on the Hub or taken over, and not built here.
    """

    at: float
    hours: float | None
    by_run: bool


def commits_by_chunk(instance: DagsterInstance, asset: AssetKey) -> dict[tuple[str, int], Commit]:
    """The latest materialization of every partition by (language, chunk number); a query for every thousand."""
    found: dict[tuple[str, int], Commit] = {}
    for name, event, record in materializations(instance, asset, latest_ids(instance, asset)):
        hours = event.metadata.get("hours")
        known = hours.value if hours is not None and isinstance(hours.value, int | float) else None
        found[name] = Commit(record.timestamp, known, "recorded_by" not in event.metadata)
    return found


def lost_chunks(instance: DagsterInstance, plan: PlanStore) -> list[tuple[str, int]]:
    """Chunks that were built or committed, and that the plan does not hold."""
    # The history comes first: what it knows was planned by then, also when a scan beside this one goes on planning.
    recorded = [recorded_digests(instance, asset) for asset in _PARTITIONED]
    planned = [(language, number) for language, numbers in plan.numbers().items() for number in numbers]
    return sorted({name for digests in recorded for name in lost(planned, digests)})


def record_unplanned(instance: DagsterInstance, chunks: Iterable[tuple[str, int]]) -> None:
    """Let the history forget chunks: their cells are recorded as holding nothing, as of a plan that never had them."""
    for name in chunks:
        for asset in _PARTITIONED:
            event = AssetMaterialization(
                asset,
                partition=str(partition_key(*name)),
                metadata={"dagster/row_count": 0, "planned": False},
                tags={DATA_VERSION_TAG: UNPLANNED, DATA_VERSION_IS_USER_PROVIDED_TAG: "true"},
            )
            instance.report_runless_asset_event(event)
