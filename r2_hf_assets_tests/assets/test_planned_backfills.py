"""planned_chunks beside backfills: what they still owe is theirs, and what a canceled one leaves is due."""

import logging
import time

from dagster import DagsterRunStatus
from dagster._core.execution.asset_backfill import AssetBackfillData
from dagster._core.execution.backfill import (
    BulkActionStatus,
    PartitionBackfill,
    cancel_backfill_runs_and_cancellation_complete,
)
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.assets.partitions import add_partitions
from r2_hf_assets.definitions import defs
from r2_hf_assets_tests.assets.ticks import KEYS, LONG_AGO, Ticks


def backfill(status: BulkActionStatus, data: AssetBackfillData | None = None) -> PartitionBackfill:
    return PartitionBackfill(
        backfill_id=status.value,
        status=status,
        from_failure=False,
        tags={},
        backfill_timestamp=time.time(),
        asset_selection=[SHARDS, COMMIT],
        serialized_asset_backfill_data=None,
        asset_backfill_data=data,
    )


def test_a_backfill_keeps_it_from_the_partitions_that_it_still_owes(ticks: Ticks) -> None:
    add_partitions(ticks.instance, [0, 1, 2])
    graph = defs.resolve_asset_graph()
    data = AssetBackfillData.from_asset_partitions(
        asset_graph=graph,
        dynamic_partitions_store=ticks.instance,
        partition_names=KEYS[1:3],
        asset_selection=[SHARDS, COMMIT],
        all_partitions=False,
        backfill_start_timestamp=time.time(),
    )

    ticks.instance.add_backfill(backfill(BulkActionStatus.COMPLETED_SUCCESS, data))
    assert ticks.asked() == KEYS
    ticks.instance.add_backfill(backfill(BulkActionStatus.REQUESTED, data))
    assert ticks.asked() == [KEYS[0], KEYS[3]]


def test_a_canceled_backfill_leaves_its_chunks_due(ticks: Ticks) -> None:
    add_partitions(ticks.instance, [0, 1, 2])
    running = backfill(BulkActionStatus.CANCELING)
    ticks.instance.add_backfill(running)
    of_it = {"dagster/backfill": running.backfill_id}
    run = create_run_for_test(
        ticks.instance,
        "build_job",
        status=DagsterRunStatus.QUEUED,
        tags={"dagster/partition": "de|chunk_0000", **of_it},
        remote_job_origin=RemoteJobOrigin(
            RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "repo"), "build_job"
        ),
    )
    assert ticks.asked() == KEYS[1:]
    # What the daemon does for a backfill that somebody cancels.
    log = logging.getLogger(__name__)
    cancel_backfill_runs_and_cancellation_complete(ticks.instance, running.backfill_id, log)
    assert cancel_backfill_runs_and_cancellation_complete(ticks.instance, running.backfill_id, log)
    ticks.instance.update_backfill(running.with_status(BulkActionStatus.CANCELED))
    canceled = ticks.instance.get_run_by_id(run.run_id)
    assert canceled is not None and canceled.status is DagsterRunStatus.CANCELED
    assert ticks.asked() == KEYS, "as if it was never tried, so without a wait"


def test_a_run_that_a_person_terminated_within_a_backfill_holds_its_chunk(ticks: Ticks) -> None:
    ticks.instance.add_backfill(backfill(BulkActionStatus.COMPLETED_FAILED))
    of_it = {"dagster/backfill": BulkActionStatus.COMPLETED_FAILED.value}
    ticks.run("de|chunk_0000", DagsterRunStatus.CANCELED, LONG_AGO, **of_it)
    assert ticks.asked() == KEYS[1:]
