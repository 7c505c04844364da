"""The daemon looks between a run's failure event and its failed status, and never retries it: planned_chunks asks for
the partition again, also when the run was a backfill's."""

from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.tags import BACKFILL_ID_TAG, WILL_RETRY_TAG
from dagster._core.test_utils import create_run_for_test
from dagster._time import get_current_datetime

from r2_hf_assets_tests.integration.services import LOCATION, Services, services, stored
from r2_hf_assets_tests.integration.test_backfill import LAUNCH
from r2_hf_assets_tests.integration.test_by_itself import turn_on
from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox.processes import LOOPBACK, wait_until

KEY = "en|chunk_0000"
CURSOR = "EVENT_LOG_CONSUMER_CURSOR-PIPELINE_FAILURE"
ASSETS = ("parquet_shards", "hub_commit")
TAGS = {"dagster/partition": KEY, "dagster/partition/language": "en", "dagster/partition/plan_chunk": "chunk_0000"}


def fail_and_be_missed(host: Services, instance: DagsterInstance, run: DagsterRun) -> None:
    """Write a failure as Dagster does, but slower: the event, the daemon's look, then the status and the tag."""

    def seen() -> int:
        return int(instance.daemon_cursor_storage.get_cursor_values({CURSOR}).get(CURSOR, "-1"))

    assert wait_until(lambda: seen() >= 0, 60), host.log()
    event = DagsterEvent(DagsterEventType.PIPELINE_FAILURE.value, run.job_name, message="as a run writes it")
    now, before = get_current_datetime(), seen()
    entry = EventLogEntry(None, 40, "", run.run_id, now.timestamp(), None, run.job_name, event)
    instance.event_log_storage.store_event(entry)
    assert wait_until(lambda: seen() > before, 30), host.log()
    instance.run_storage.handle_run_event(run.run_id, event, now)
    instance.add_run_tags(run.run_id, {WILL_RETRY_TAG: "true"})
    assert stored(instance, run.run_id).is_complete_and_waiting_to_retry


def check_asked_again(host: Services, instance: DagsterInstance, missed: DagsterRun) -> None:
    """The missed run has no retry, and a run that planned_chunks asked for commits the chunk."""
    world = host.world
    assert wait_until(lambda: world.due() == [], 100, 0.5), host.log()
    assert [run for run in instance.get_runs() if run.parent_run_id == missed.run_id] == []
    (asked,) = instance.get_runs(RunsFilter(job_name="build_job"))
    assert asked.tags["r2_hf_assets/attempt"] == "1" and asked.tags["dagster/partition"] == KEY
    assert wait_until(lambda: stored(instance, asked.run_id).status is DagsterRunStatus.SUCCESS, 20), host.log()
    assert len(world.commits()) == 1


def test_a_run_whose_retry_was_missed_is_asked_for_again(in_process: World) -> None:
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
        fail_and_be_missed(host, instance, run)
        check_asked_again(host, instance, run)


def test_so_is_a_run_of_a_backfill(in_process: World) -> None:
    world = in_process
    world.upload(episodes={"en": 1}, segments=(2, 2), seconds=(0.3, 0.3))
    assert world.scan() is None
    daemon = "r2_hf_assets_tests.integration.cluster.daemon"
    with (
        services(world, "r2_hf_assets_tests.integration.quick_sensors", daemon=daemon) as host,
        DagsterInstance.get() as instance,
    ):
        # A run of the same partition keeps the backfill's in the queue.
        other = create_run_for_test(instance, "other_job", status=DagsterRunStatus.STARTED, tags=TAGS)
        params = {"partitionNames": [KEY], "assetSelection": [{"path": [asset]} for asset in ASSETS]}
        backfill = host.graphql(LAUNCH, backfillParams=params)["launchPartitionBackfill"]["backfillId"]
        its_runs = RunsFilter(tags={BACKFILL_ID_TAG: backfill}, statuses=[DagsterRunStatus.QUEUED])
        assert wait_until(lambda: len(instance.get_runs(its_runs)) == 1, 60), host.log()
        (run,) = instance.get_runs(its_runs)
        turn_on(host, "planned_chunks")
        fail_and_be_missed(host, instance, run)
        instance.delete_run(other.run_id)
        check_asked_again(host, instance, run)
