"""The daemon looks between a run's failure event and its failed status: the retry that it then misses comes all the
same."""

from dagster import AssetKey, DagsterInstance, DagsterRunStatus
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test
from dagster._time import get_current_datetime

from r2_hf_assets.sandbox.processes import LOOPBACK, wait_until
from r2_hf_assets_tests.runs.services import LOCATION, services, stored
from r2_hf_assets_tests.world import World

KEY = "en|chunk_0000"
CURSOR = "EVENT_LOG_CONSUMER_CURSOR-PIPELINE_FAILURE"


def test_a_retry_that_the_daemon_missed_is_made(in_process: World) -> None:
    world = in_process
    world.upload(episodes={"en": 1}, segments=(2, 2), seconds=(0.3, 0.3))
    assert world.scan() is None
    with services(world, "r2_hf_assets_tests.runs.quick_definitions") as host, DagsterInstance.get() as instance:
        location = GrpcServerCodeLocationOrigin(host=LOOPBACK, port=host.port, location_name=LOCATION)
        run = create_run_for_test(
            instance,
            "__ASSET_JOB",
            status=DagsterRunStatus.STARTED,
            asset_selection=frozenset({AssetKey("parquet_shards"), AssetKey("hub_commit")}),
            tags={
                "dagster/partition": KEY,
                "dagster/partition/language": "en",
                "dagster/partition/plan_chunk": "chunk_0000",
                "dagster/retry_strategy": "ALL_STEPS",
            },
            remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), "__ASSET_JOB"),
        )

        def seen() -> int:
            return int(instance.daemon_cursor_storage.get_cursor_values({CURSOR}).get(CURSOR, "-1"))

        # lost_retries settles what had failed before its first look, so it must have looked.
        assert wait_until(lambda: seen() >= 0 and "lost_retries skipped" in host.log(), 60), host.log()
        event = DagsterEvent(DagsterEventType.PIPELINE_FAILURE.value, run.job_name, message="as a run writes it")
        now = get_current_datetime()
        # As Dagster does it, only slower: the event ...
        instance.event_log_storage.store_event(
            EventLogEntry(None, 40, "", run.run_id, now.timestamp(), None, run.job_name, event)
        )
        after = seen()
        assert wait_until(lambda: seen() > after, 30), host.log()
        # ... and then the status.
        instance.run_storage.handle_run_event(run.run_id, event, now)
        assert stored(instance, run.run_id).status is DagsterRunStatus.FAILURE
        assert wait_until(lambda: world.due() == [], 100, 0.5), host.log()
        (retry,) = [other for other in instance.get_runs() if other.parent_run_id == run.run_id]
        assert wait_until(lambda: stored(instance, retry.run_id).is_finished, 20)
    assert len(world.commits()) == 1
