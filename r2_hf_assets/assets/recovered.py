"""Records what no run has made: chunks found on the Hub by reconcile or taken over from the script, and chunks that the
Hub lost.

The events carry all the tags that a run's would, so that nothing tells the two apart (not what is due, not the grid in
the UI, not whether a chunk is up to date), while their metadata says who recorded them, and by what they were verified.

Dagster can't take a materialization of a partition back. So a lost chunk gets one more, whose data version says that it
is due again; and, because the grid would still show it as made, a run that failed to make it: red, and part of a
backfill of "missing and failed".
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dagster import (
    AssetKey,
    AssetMaterialization,
    DagsterEvent,
    DagsterInstance,
    DagsterRun,
)

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.assets.event_tags import event_tags
from r2_hf_assets.assets.metadata import files_table, stats_metadata
from r2_hf_assets.assets.partitions import add_partitions, partition_key
from r2_hf_assets.dagster_internals import MAX_RETRIES_TAG, AssetMaterializationPlannedData, make_new_run_id
from r2_hf_assets.plan.due import DUE_AGAIN
from r2_hf_assets.reconcile.report import Due, Recovered

Emit = Callable[[AssetMaterialization], Any]


def record(
    instance: DagsterInstance,
    recovered: Iterable[Recovered],
    revision: str | None,
    dataset: str,
    by: str,
    emit: Emit,
) -> None:
    """Record chunks as materialized for their digests, partitions included.

    Args:
        dataset: the repo that they were found in.
        by: who says so, e.g. "reconcile".
        emit: takes each event: a run's `log_event`, or the instance's `report_runless_asset_event`.
    """
    chunks = list(recovered)
    add_partitions(instance, (item.chunk.number for item in chunks))
    for item in chunks:
        # hub_commit is what says done, so it comes last: whoever is stopped in between does the chunk again.
        for asset in (SHARDS, COMMIT):
            emit(_materialization(asset, item, revision, dataset, by))


def record_due(instance: DagsterInstance, chunks: Sequence[Due], dataset: str, by: str) -> None:
    """Record chunks as due, whatever was recorded before, and the files that their next commits may replace."""
    if not chunks:
        return
    add_partitions(instance, (number for due in chunks for _, number in [due.name]))
    keys = [partition_key(*due.name) for due in chunks]
    for due, key in zip(chunks, keys, strict=True):
        instance.report_runless_asset_event(
            AssetMaterialization(
                COMMIT,
                description=f"Due again, says {by}: {due.why}.",
                partition=key,
                tags=event_tags(COMMIT, DUE_AGAIN, key, by),
                metadata={
                    "dagster/row_count": 0,
                    "planned": True,
                    "recorded_by": by,
                    "dataset": dataset,
                    "due_because": due.why,
                    "files": files_table(due.files, due.name[0]),
                },
            )
        )
    # No daemon must try this run again: it has no code.
    run = DagsterRun(
        job_name=by, run_id=make_new_run_id(), asset_selection=frozenset([COMMIT]), tags={MAX_RETRIES_TAG: "0"}
    )
    instance.add_run(run)
    for key in keys:
        planned = AssetMaterializationPlannedData(COMMIT, partition=key)
        event = DagsterEvent.build_asset_materialization_planned_event(by, COMMIT.to_user_string(), planned)
        instance.report_dagster_event(event, run.run_id)
    instance.report_run_failed(run, f"{len(chunks)} chunks are not on the Hub as they should be, and due.")


def _materialization(
    asset: AssetKey, item: Recovered, revision: str | None, dataset: str, by: str
) -> AssetMaterialization:
    chunk, key = item.chunk, partition_key(item.chunk.language, item.chunk.number)
    return AssetMaterialization(
        asset,
        description=f"Found on the Hub by {by}, verified by {item.how}.",
        partition=key,
        tags=event_tags(asset, chunk.digest, key, by, dataset if asset == COMMIT else None),
        metadata={
            "dagster/row_count": item.rows,
            "planned": True,
            "chunk_digest": chunk.digest,
            "recorded_by": by,
            "verified_by": item.how,
            "revision": revision or "none",
            "dataset": dataset,
            "episodes_planned": chunk.episodes,
            "bytes": sum(file.size for file in item.files),
            "files": files_table(item.files, chunk.language),
            **stats_metadata(item.stats),
        },
    )
