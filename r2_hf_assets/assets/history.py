"""Progress, read from Dagster's materialization history: which chunk each partition was last materialized for.

The digest is the materialization's data version, because that is the one tag that Dagster indexes: the latest one of
every partition is a single query.
"""

from collections.abc import Iterable

from dagster import AssetKey, AssetMaterialization, DagsterEventType, DagsterInstance
from dagster._core.definitions.data_version import DATA_VERSION_IS_USER_PROVIDED_TAG, DATA_VERSION_TAG

from r2_hf_assets.assets.partitions import partition_key, read_key
from r2_hf_assets.plan.due import UNPLANNED, lost
from r2_hf_assets.plan.store import PlanStore

_PARTITIONED = (AssetKey("parquet_shards"), AssetKey("hub_commit"))


def recorded_digests(instance: DagsterInstance, asset: AssetKey) -> dict[tuple[str, int], str | None]:
    """Digest of the latest materialization by (language, chunk number): one query for all partitions."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        asset, DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
    )
    return {read_key(key): found.get(DATA_VERSION_TAG) for key, found in tags.items()}


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
