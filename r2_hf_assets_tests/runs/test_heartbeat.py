"""A run's heartbeat: sent while the run makes progress, ends with the run, detects that the run was ended."""

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from dagster import (
    AssetExecutionContext,
    DagsterEventType,
    DagsterExecutionInterruptedError,
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    ExecuteInProcessResult,
    RunsFilter,
    asset,
    in_process_executor,
    success_hook,
)
from dagster._core.storage.tags import TagType, get_tag_type

from r2_hf_assets import activity
from r2_hf_assets.definitions import defs
from r2_hf_assets.retry import Retry, RetryState, TransientError
from r2_hf_assets.runs import heartbeat as run_heartbeat
from r2_hf_assets.runs.heartbeat import ALIVE_TAG, RunHeartbeat, send_periodically
from r2_hf_assets.sensors import lost_runs
from r2_hf_assets_tests.sensors.ticks import Ticks
from r2_hf_sandbox.processes import wait_until


def heartbeat_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "run-heartbeat"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterInstance]:
    with DagsterInstance.local_temp(str(tmp_path_factory.mktemp("home"))) as made:
        yield made


@pytest.fixture
def instance(home: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> DagsterInstance:
    """An instance on disk, whose runs send fifty heartbeats a second."""
    monkeypatch.setattr(run_heartbeat, "HEARTBEAT_SECONDS", 0.02)
    return home


def run(instance: DagsterInstance, body, pool: str | None = None, **options) -> ExecuteInProcessResult:
    """Run an asset that calls body(context, run_heartbeat)."""

    @asset(pool=pool)
    def work(context: AssetExecutionContext, run_heartbeat: RunHeartbeat) -> None:
        body(context, run_heartbeat)

    made = Definitions([work], resources={"run_heartbeat": RunHeartbeat()}, executor=in_process_executor)
    job = made.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance, raise_on_error=False, **options)


def last_heartbeat(instance: DagsterInstance, context: Any) -> str | None:
    return instance.get_run_by_id(context.run.run_id).tags.get(ALIVE_TAG)  # type: ignore[union-attr]


def test_a_run_sends_heartbeats_until_it_ends(instance):
    def body(context, heartbeat):
        assert sends_heartbeats(instance, context)
        heartbeat.raise_if_terminated()

    assert run(instance, body).success
    assert heartbeat_threads() == []


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_the_heartbeat_ends_with_a_run_that_fails_or_is_interrupted(instance, error):
    def body(context, heartbeat):
        assert len(heartbeat_threads()) == 1
        raise error

    assert not run(instance, body).success
    assert heartbeat_threads() == []


def test_a_short_run_writes_no_tag(instance, monkeypatch):
    monkeypatch.setattr(run_heartbeat, "HEARTBEAT_SECONDS", 60.0)
    result = run(instance, lambda context, heartbeat: None)
    assert result.success and ALIVE_TAG not in instance.get_run_by_id(result.run_id).tags
    assert heartbeat_threads() == []


def test_a_locked_database_skips_heartbeats_and_the_run_completes(instance, monkeypatch):
    real, calls = instance.add_run_tags, []

    def fail_three_times(run_id, tags):
        if ALIVE_TAG in tags:
            calls.append(tags)
            if len(calls) <= 3:
                raise OSError("database is locked")
        real(run_id, tags)

    monkeypatch.setattr(instance, "add_run_tags", fail_three_times)

    def body(context, heartbeat):
        assert wait_until(lambda: last_heartbeat(instance, context) is not None, 20, 0.01)
        heartbeat.raise_if_terminated()

    assert run(instance, body).success and len(calls) >= 4


def test_a_heartbeat_that_hangs_does_not_delay_the_end_of_the_run(monkeypatch):
    monkeypatch.setattr(run_heartbeat, "_JOIN_SECONDS", 0.01)
    hangs, release = threading.Event(), threading.Event()

    def send() -> bool:
        hangs.set()
        return release.wait(60)

    with send_periodically(send, 0.001):
        assert hangs.wait(20)
    (thread,) = heartbeat_threads()
    release.set()
    thread.join(20)
    assert heartbeat_threads() == []


@pytest.mark.parametrize("end", ["report_run_failed", "report_run_canceled"])
def test_a_run_ended_from_outside_stops_and_keeps_its_status(instance, end):
    after = []

    def body(context, heartbeat):
        getattr(instance, end)(context.run, "ended from outside")
        assert wait_until(lambda: heartbeat_threads() == [], 20, 0.01)
        heartbeat.raise_if_terminated()
        after.append("continued")

    expected = {"report_run_failed": DagsterRunStatus.FAILURE, "report_run_canceled": DagsterRunStatus.CANCELED}[end]
    result = run(instance, body)
    assert after == []
    assert instance.get_run_by_id(result.run_id).status is expected
    ends = {DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED}
    assert len(instance.all_logs(result.run_id, of_type=ends)) == 1, "its end is recorded once"


def test_a_backoff_ends_with_the_run(instance):
    after = []

    def body(context, heartbeat):
        instance.report_run_failed(context.run, "ended from outside")
        heartbeat.sleep(3600)
        after.append("waited")

    assert not run(instance, body).success
    assert after == []


def test_a_deleted_run_stops(instance):
    stopped = []

    def body(context, heartbeat):
        instance.delete_run(context.run.run_id)
        assert wait_until(lambda: heartbeat_threads() == [], 20, 0.01)
        with pytest.raises(DagsterExecutionInterruptedError):
            heartbeat.raise_if_terminated()
        stopped.append(True)

    run(instance, body)
    assert stopped


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> activity.ProgressClock:
    """A process without progress, which is idle after a tenth of a second."""
    mark = activity.ProgressClock()
    monkeypatch.setattr(activity, "PROCESS", mark)
    monkeypatch.setattr(run_heartbeat, "IDLE_SECONDS", 0.1)
    return mark


def sends_heartbeats(instance: DagsterInstance, context: Any, step: Callable[[], object] = lambda: None) -> bool:
    """Whether three new heartbeats are written while `step` is called repeatedly."""
    written: set[str | None] = set()

    def more() -> bool:
        step()
        written.add(last_heartbeat(instance, context))
        return len(written) > 3

    return wait_until(more, 20, 0.01)


@pytest.fixture
def idle_checks(instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each check of an idle process: whether a step is active."""
    real: Callable[[DagsterInstance, str], bool] = run_heartbeat._has_active_step
    results: list[bool] = []

    def has_active_step(instance: DagsterInstance, run_id: str) -> bool:
        results.append(real(instance, run_id))
        return results[-1]

    monkeypatch.setattr(run_heartbeat, "_has_active_step", has_active_step)
    return results


def test_a_step_that_hangs_sends_no_heartbeat_until_it_makes_progress(instance, idle, idle_checks):
    def body(context, heartbeat):
        assert wait_until(lambda: True in idle_checks, 20, 0.01)
        last = last_heartbeat(instance, context)
        assert wait_until(lambda: idle_checks.count(True) > 5, 20, 0.01)
        assert last_heartbeat(instance, context) == last and idle_checks[-1]
        assert sends_heartbeats(instance, context, activity.advance)

    assert run(instance, body).success


def test_a_run_whose_step_hangs_is_ended(instance, idle, idle_checks, monkeypatch):
    monkeypatch.setattr(lost_runs, "_is_ours", lambda *_: True)
    after = []

    def body(context, heartbeat):
        assert wait_until(lambda: True in idle_checks, 20, 0.01)
        ticks = Ticks(lost_runs.lost_runs, instance)
        ticks.skip_message(lost_runs.MAX_UNCHANGED)
        assert instance.get_run_by_id(context.run.run_id).status is DagsterRunStatus.STARTED
        assert context.run.run_id in ticks.skip_message()
        assert wait_until(lambda: heartbeat_threads() == [], 20, 0.01)
        heartbeat.raise_if_terminated()
        after.append("continued")

    result = run(instance, body)
    assert after == [] and instance.get_run_by_id(result.run_id).status is DagsterRunStatus.FAILURE


def test_a_wait_that_the_server_requested_sends_heartbeats(instance, idle):
    def body(context, heartbeat):
        quota = RetryState(Retry(), "commit").next_wait(TransientError("rate limited", wait=3600.0, quota=True))
        assert quota == 3600.0 and sends_heartbeats(instance, context)

    assert run(instance, body).success


def test_heartbeats_are_sent_between_two_steps(instance, idle, monkeypatch):
    hooks = []

    @asset
    def first() -> None:
        pass

    @asset(deps=[first])
    def second(context: AssetExecutionContext, run_heartbeat: RunHeartbeat) -> None:
        pass

    @success_hook
    def slow(context):
        hooks.append(context.op.name)
        record = instance.get_run_by_id(context.run_id)
        assert sends_heartbeats(instance, SimpleNamespace(run=record))

    made = Definitions([first, second], resources={"run_heartbeat": RunHeartbeat()}, executor=in_process_executor)
    job = made.resolve_implicit_global_asset_job_def().with_hooks({slow})
    assert job.execute_in_process(instance=instance).success
    assert hooks == ["first", "second"]


def test_a_run_that_waits_for_a_slot_of_a_pool_sends_heartbeats(instance, idle):
    pools = instance.event_log_storage
    pools.set_concurrency_slots("full", 0)
    sent = []

    def free_a_slot() -> None:
        # Dagster assigns a new slot to the steps that are already in its queue: a slot that is added between a step's
        # look at the slots and its entry in the queue stays free, and the step waits for ever.
        queued = wait_until(lambda: pools.get_concurrency_info("full").pending_step_count > 0, 20, 0.02)
        (record,) = instance.get_runs(RunsFilter(tags={"case": "full"}))
        sent.append(queued and sends_heartbeats(instance, SimpleNamespace(run=record)))
        pools.set_concurrency_slots("full", 1)

    helper = threading.Thread(target=free_a_slot)
    helper.start()
    assert run(instance, lambda context, heartbeat: None, pool="full", tags={"case": "full"}).success
    helper.join()
    assert sent == [True]


def test_every_step_of_the_project_requires_the_heartbeat():
    """lost_runs ends each run of the code location that sends none for ten minutes."""
    jobs = defs.get_repository_def().get_all_jobs()
    ops = {op.name: op.required_resource_keys for job in jobs for op in job.graph.iterate_op_defs()}
    assert {"work_plan", "parquet_shards", "hub_commit"} < set(ops)
    assert [name for name, resources in ops.items() if "run_heartbeat" not in resources] == []


def test_the_heartbeat_tag_is_hidden():
    assert get_tag_type(ALIVE_TAG) is TagType.HIDDEN
