"""Progress, read from Dagster's materialization history: which chunk each partition was last materialized for.

The digest is the materialization's data version, because that is the one tag that Dagster indexes: the latest one of
every partition is a single query.
"""

from dagster import AssetKey, DagsterEventType, DagsterInstance
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from r2_hf_assets.assets.partitions import read_key


def recorded_digests(instance: DagsterInstance, asset: AssetKey) -> dict[tuple[str, int], str | None]:
    """Digest of the latest materialization by (language, chunk number): one query for all partitions."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        asset, DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
    )
    return {read_key(key): found.get(DATA_VERSION_TAG) for key, found in tags.items()}
