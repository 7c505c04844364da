"""Record events without a run: chunks found on the Hub, chunks that are due again, chunks of an abandoned plan.

The events carry the tags of a run's events, so the due rule, the grid and Dagster's staleness treat both alike. Their
metadata names the command that recorded them and the evidence.

Dagster can't revoke the materialization of a partition. So a lost chunk gets another one, whose data version marks it
as due, and a failed run, so that the grid shows it as failed and a backfill of "missing and failed" includes it.
"""

from collections.abc import Iterable, Sequence

import dagster as dg

from r2_hf_assets.asset_keys import COMMIT, SHARDS, WORK_PLAN
from r2_hf_assets.dagster_internals import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    MAX_RETRIES_TAG,
    NULL_EVENT_POINTER,
    AssetMaterializationPlannedData,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
    get_tags_from_multi_partition_key,
    make_new_run_id,
)
from r2_hf_assets.partitions import add_partitions, partition_key
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.plan.due import DUE_AGAIN, UNPLANNED
from r2_hf_assets.plural import plural
from r2_hf_assets.reconcile.report import Due, Recovered
from r2_hf_assets.runs.history import data_version
from r2_hf_assets.runs.metadata import PLAN_VERSION, STATS, UNPLANNED_METADATA, Metadata, files_table


def record_done(
    instance: dg.DagsterInstance, recovered: Iterable[Recovered], revision: str | None, dataset: str, by: str
) -> None:
    """Record chunks of `dataset` as materialized for their digests, partitions included; `by` is e.g. "reconcile"."""
    chunks = list(recovered)
    add_partitions(instance, (item.chunk.number for item in chunks))
    for item in chunks:
        key = partition_key(*item.chunk.name)
        metadata: Metadata = {
            "dagster/row_count": item.rows,
            "chunk_digest": item.chunk.digest,
            "recorded_by": by,
            "verified_by": item.how,
            "revision": revision or "none",
            "dataset": dataset,
            "episodes_planned": item.chunk.episodes,
            "bytes": item.bytes,
            "files": files_table(item.files),
        }
        if item.stats:
            metadata[STATS] = dg.MetadataValue.json(item.stats.as_json())
            metadata["hours"] = round(item.stats.hours, 4)
        # hub_commit is last, because it marks the chunk as done.
        for asset, made_in in ((SHARDS, None), (COMMIT, dataset)):
            tags = _tags(asset, item.chunk.digest, key, by, made_in)
            description = f"Found on the Hub by {by}, verified by {item.how}."
            instance.report_runless_asset_event(
                dg.AssetMaterialization(asset, description, metadata, partition=key, tags=tags)
            )


def record_due(instance: dg.DagsterInstance, chunks: Sequence[Due], dataset: str, by: str) -> None:
    """Record chunks as due again, with the files that their next commits may replace."""
    if not chunks:
        return
    add_partitions(instance, (due.name[1] for due in chunks))
    keys = [partition_key(*due.name) for due in chunks]
    for due, key in zip(chunks, keys, strict=True):
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                COMMIT,
                description=f"Due again, recorded by {by}: {due.why}.",
                partition=key,
                tags=_tags(COMMIT, DUE_AGAIN, key, by),
                metadata={
                    "dagster/row_count": 0,
                    "recorded_by": by,
                    "dataset": dataset,
                    "due_because": due.why,
                    "files": files_table(due.files),
                },
            )
        )
    # Without retries: the run has no code.
    run = dg.DagsterRun(
        job_name=by, run_id=make_new_run_id(), asset_selection=frozenset([COMMIT]), tags={MAX_RETRIES_TAG: "0"}
    )
    instance.add_run(run)
    for key in keys:
        planned = AssetMaterializationPlannedData(COMMIT, partition=key)
        event = dg.DagsterEvent.build_asset_materialization_planned_event(by, COMMIT.to_user_string(), planned)
        instance.report_dagster_event(event, run.run_id)
    instance.report_run_failed(
        run, f"{plural(len(chunks), 'chunk is', 'chunks are')} missing or changed on the Hub, and due."
    )


def record_unplanned(instance: dg.DagsterInstance, chunks: Iterable[Name]) -> None:
    """Record partitions as unplanned, for chunks that the plan no longer has."""
    tags = {DATA_VERSION_TAG: UNPLANNED, DATA_VERSION_IS_USER_PROVIDED_TAG: "true"}
    for name in chunks:
        for asset in (SHARDS, COMMIT):
            key = partition_key(*name)
            instance.report_runless_asset_event(
                dg.AssetMaterialization(asset, partition=key, metadata=UNPLANNED_METADATA, tags=tags)
            )


def _tags(
    asset: dg.AssetKey, digest: str, key: dg.MultiPartitionKey, by: str, dataset: str | None = None
) -> dict[str, str]:
    """Return the tags of a run's result: data version, partition, and the versions of its inputs.

    Without input versions Dagster compares times, and the next scan would make each recorded chunk stale.
    """
    upstream, version = (WORK_PLAN, PLAN_VERSION) if asset == SHARDS else (SHARDS, digest)
    return {
        DATA_VERSION_TAG: data_version(digest, dataset),
        DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
        CODE_VERSION_TAG: by,
        get_input_data_version_tag(upstream): version,
        get_input_event_pointer_tag(upstream): NULL_EVENT_POINTER,
        **get_tags_from_multi_partition_key(key),
    }
