"""Records chunks as materialized that no run has made: found on the Hub by reconcile, or taken over from the script.

The events carry all the tags that a run's would, so that nothing tells the two apart (not what is due, not the grid in
the UI, not whether a chunk is up to date), while their metadata says who recorded them, and by what they were verified.
"""

from collections.abc import Callable, Iterable
from typing import Any

from dagster import AssetKey, AssetMaterialization, DagsterInstance, MetadataValue, TableRecord

from r2_hf_assets.assets.event_tags import event_tags
from r2_hf_assets.assets.launch import COMMIT, SHARDS
from r2_hf_assets.assets.metadata import stats_metadata
from r2_hf_assets.assets.partitions import add_partitions, partition_key
from r2_hf_assets.reconcile.report import Recovered
from r2_hf_assets.shards.names import path_in_repo

Emit = Callable[[AssetMaterialization], Any]


def record(
    instance: DagsterInstance, recovered: Iterable[Recovered], revision: str | None, by: str, emit: Emit
) -> None:
    """Record chunks as materialized for their digests, partitions included.

    Args:
        by: who says so, e.g. "reconcile".
        emit: takes each event: a run's `log_event`, or the instance's `report_runless_asset_event`.
    """
    chunks = list(recovered)
    add_partitions(instance, (item.chunk.number for item in chunks))
    for item in chunks:
        # hub_commit is what says done, so it comes last: whoever is stopped in between does the chunk again.
        for asset in (SHARDS, COMMIT):
            emit(_materialization(asset, item, revision, by))


def _materialization(asset: AssetKey, item: Recovered, revision: str | None, by: str) -> AssetMaterialization:
    chunk, key = item.chunk, partition_key(item.chunk.language, item.chunk.number)
    files: list[dict[str, str | int]] = [
        {
            "file": path_in_repo(chunk.language, file.name),
            "rows": file.rows,
            "bytes": file.size,
            "sha256": file.sha256 or "none",
        }
        for file in item.files
    ]
    return AssetMaterialization(
        asset,
        description=f"Found on the Hub by {by}, verified by {item.how}.",
        partition=key,
        tags=event_tags(asset, chunk.digest, key, by),
        metadata={
            "dagster/row_count": item.rows,
            "planned": True,
            "chunk_digest": chunk.digest,
            "recorded_by": by,
            "verified_by": item.how,
            "revision": revision or "none",
            "episodes_planned": chunk.episodes,
            "bytes": sum(file.size for file in item.files),
            "files": MetadataValue.table([TableRecord({**row}) for row in files]) if files else "none",
            **stats_metadata(item.stats),
        },
    )
