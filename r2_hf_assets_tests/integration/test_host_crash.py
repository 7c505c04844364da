"""The whole host crashes during a run: after a restart the run is ended, and a retry completes its partition."""

import pytest
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus

from r2_hf_assets.runs.heartbeat import ALIVE_TAG
from r2_hf_assets_tests.integration.services import services, stored
from r2_hf_assets_tests.support.world import World, materializations
from r2_hf_sandbox.processes import wait_until

KEY = "en|chunk_0000"


@pytest.mark.slow
def test_a_run_whose_host_crashed_is_ended_and_its_partition_committed_once(in_process: World) -> None:
    world = in_process
    summary = world.upload(episodes={"en": 2}, segments=(2, 3), seconds=(0.3, 0.4))
    assert world.scan() is None
    commit = f"{world.repo_id}/commit/"
    world.sandbox.hub.inject({"method": "POST", "path_regex": commit, "delay_s": 300, "drop": True})
    mark = world.sandbox.hub.mark()
    with services(world, "r2_hf_assets_tests.integration.quick_definitions") as host:
        run_id = host.launch(["parquet_shards", "hub_commit"], KEY)

        def committing() -> bool:
            return any(commit in request["path"] for request in world.sandbox.hub.requests(since=mark))

        assert wait_until(committing, 60, 0.2), host.log()
        with DagsterInstance.get() as instance:
            assert wait_until(lambda: ALIVE_TAG in stored(instance, run_id).tags, 20)
            host.kill()
            assert stored(instance, run_id).status is DagsterRunStatus.STARTED
            host.start()
            assert wait_until(lambda: stored(instance, run_id).is_finished, 60, 0.5), host.log()
            if not wait_until(lambda: "dagster/auto_retry_run_id" in stored(instance, run_id).tags, 40, 0.5):
                # Dagster missed the retry (docs/upstream-notes.md), and planned_chunks, which is off here, repeats it.
                host.launch(["parquet_shards", "hub_commit"], KEY)
            assert wait_until(lambda: world.due() == [], 60, 0.5), host.log()
            lost = stored(instance, run_id)
            (failure,) = instance.all_logs(run_id, of_type=DagsterEventType.RUN_FAILURE)
            assert lost.status is DagsterRunStatus.FAILURE
            assert "No heartbeat" in failure.message and lost.tags[ALIVE_TAG] in failure.message
            assert wait_until(lambda: all(run.is_finished for run in instance.get_runs()), 20)
    assert len(world.commits()) == 1
    assert world.row_keys() == sorted(row.key for row in summary.rows)
    for asset in ("parquet_shards", "hub_commit"):
        assert len(materializations(world, asset, KEY)) == 1
