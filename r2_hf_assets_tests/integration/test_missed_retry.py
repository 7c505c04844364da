"""A run that the daemon reads between its failure event and its failed status is not retried: planned_chunks requests
its partition again, also when the run is a backfill's."""

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.tags import BACKFILL_ID_TAG, WILL_RETRY_TAG
from dagster._core.test_utils import create_run_for_test
from dagster._time import get_current_datetime

from r2_hf_assets.runs.outcome import ATTEMPT_TAG
from r2_hf_assets_tests.integration.services import LOCATION, Services, services, stored
from r2_hf_assets_tests.integration.test_sensors import turn_on
from r2_hf_assets_tests.integration.webserver import LAUNCH_BACKFILL
from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox.processes import LOOPBACK, wait_until

KEY = "en|chunk_0000"
CURSOR = "EVENT_LOG_CONSUMER_CURSOR-PIPELINE_FAILURE"
ASSETS = ("parquet_shards", "hub_commit")
TAGS = {"dagster/partition": KEY, "dagster/partition/language": "en", "dagster/partition/plan_chunk": "chunk_0000"}


def fail_without_retry(host: Services, instance: DagsterInstance, run: DagsterRun) -> None:
    """Store a failure as Dagster does, but slower: the event, then, when the daemon has read it, status and tag."""

    def cursor() -> int:
        return int(instance.daemon_cursor_storage.get_cursor_values({CURSOR}).get(CURSOR, "-1"))

    assert wait_until(lambda: cursor() >= 0, 60), host.log()
    event = DagsterEvent(DagsterEventType.PIPELINE_FAILURE.value, run.job_name, message="as a run writes it")
    now, before = get_current_datetime(), cursor()
    entry = EventLogEntry(None, 40, "", run.run_id, now.timestamp(), None, run.job_name, event)
    instance.event_log_storage.store_event(entry)
    assert wait_until(lambda: cursor() > before, 30), host.log()
    instance.run_storage.handle_run_event(run.run_id, event, now)
    instance.add_run_tags(run.run_id, {WILL_RETRY_TAG: "true"})
    assert stored(instance, run.run_id).is_complete_and_waiting_to_retry


def check_requested_again(host: Services, instance: DagsterInstance, missed: DagsterRun) -> None:
    """Check that the missed run has no retry, and that a run of planned_chunks commits the chunk."""
    world = host.world
    assert wait_until(lambda: world.due() == [], 100, 0.5), host.log()
    assert [run for run in instance.get_runs() if run.parent_run_id == missed.run_id] == []
    (requested,) = instance.get_runs(RunsFilter(job_name="build_job"))
    assert requested.tags[ATTEMPT_TAG] == "1" and requested.tags["dagster/partition"] == KEY
    assert wait_until(lambda: stored(instance, requested.run_id).status is DagsterRunStatus.SUCCESS, 20), host.log()
    assert len(world.commits()) == 1


def test_a_run_whose_retry_was_missed_is_requested_again(in_process: World) -> None:
    world = in_process
    world.upload(episodes={"en": 1}, segments=(2, 2), seconds=(0.3, 0.3))
    assert world.scan() is None
    with services(world, "r2_hf_assets_tests.integration.quick_sensors") as host, DagsterInstance.get() as instance:
        location = GrpcServerCodeLocationOrigin(host=LOOPBACK, port=host.port, location_name=LOCATION)
        run = create_run_for_test(
            instance,
            "__ASSET_JOB",
            status=DagsterRunStatus.STARTED,
            asset_selection=frozenset(map(AssetKey, ASSETS)),
            tags={**TAGS, "dagster/retry_strategy": "ALL_STEPS"},
            remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), "__ASSET_JOB"),
        )
        turn_on(host, "planned_chunks")
        fail_without_retry(host, instance, run)
        check_requested_again(host, instance, run)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster uses its own deprecated names
def test_a_run_of_a_backfill_whose_retry_was_missed_is_requested_again(in_process: World) -> None:
    world = in_process
    world.upload(episodes={"en": 1}, segments=(2, 2), seconds=(0.3, 0.3))
    assert world.scan() is None
    daemon = "r2_hf_assets_tests.integration.quick_daemon"
    with (
        services(world, "r2_hf_assets_tests.integration.quick_sensors", daemon=daemon) as host,
        DagsterInstance.get() as instance,
    ):
        # An active run of the same partition holds the backfill's run in the queue.
        other = create_run_for_test(instance, "other_job", status=DagsterRunStatus.STARTED, tags=TAGS)
        params = {"partitionNames": [KEY], "assetSelection": [{"path": [asset]} for asset in ASSETS]}
        backfill = host.graphql(LAUNCH_BACKFILL, params=params)["launchPartitionBackfill"]["backfillId"]
        queued = RunsFilter(tags={BACKFILL_ID_TAG: backfill}, statuses=[DagsterRunStatus.QUEUED])
        assert wait_until(lambda: len(instance.get_runs(queued)) == 1, 60), host.log()
        (run,) = instance.get_runs(queued)
        turn_on(host, "planned_chunks")
        fail_without_retry(host, instance, run)
        instance.delete_run(other.run_id)
        check_requested_again(host, instance, run)
