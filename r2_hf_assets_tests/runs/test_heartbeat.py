"""A run's heartbeat: it beats while the run lives, ends with it, harms nothing, and hears that the run was ended."""

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
from r2_hf_assets_tests.sensors.test_lost_runs import Looks
from r2_hf_sandbox.processes import wait_until


def beats() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "signs-of-life"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterInstance]:
    with DagsterInstance.local_temp(str(tmp_path_factory.mktemp("home"))) as made:
        yield made


@pytest.fixture
def instance(home: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> DagsterInstance:
    """An instance on disk, whose runs beat fifty times a second."""
    monkeypatch.setattr(run_heartbeat, "HEARTBEAT_SECONDS", 0.02)
    return home


def run(instance: DagsterInstance, body, pool: str | None = None, **options) -> ExecuteInProcessResult:
    """One run of an asset that calls body(context, run_heartbeat)."""

    @asset(pool=pool)
    def work(context: AssetExecutionContext, run_heartbeat: RunHeartbeat) -> None:
        body(context, run_heartbeat)

    made = Definitions([work], resources={"run_heartbeat": RunHeartbeat()}, executor=in_process_executor)
    job = made.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance, raise_on_error=False, **options)


def sign(instance: DagsterInstance, context: Any) -> str | None:
    return instance.get_run_by_id(context.run.run_id).tags.get(ALIVE_TAG)  # type: ignore[union-attr]


def test_a_run_shows_new_signs_until_it_ends(instance):
    def body(context, signs):
        assert shows_new_signs(instance, context)
        signs.raise_if_terminated()

    assert run(instance, body).success
    assert beats() == []


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_it_ends_with_a_run_that_fails_or_is_interrupted(instance, error):
    def body(context, signs):
        assert len(beats()) == 1
        raise error

    assert not run(instance, body).success
    assert beats() == []


def test_a_short_run_pays_nothing(instance, monkeypatch):
    monkeypatch.setattr(run_heartbeat, "HEARTBEAT_SECONDS", 60.0)
    result = run(instance, lambda context, signs: None)
    assert result.success and ALIVE_TAG not in instance.get_run_by_id(result.run_id).tags
    assert beats() == []


def test_the_database_away_costs_signs_and_nothing_else(instance, monkeypatch):
    real, calls = instance.add_run_tags, []

    def away_three_times(run_id, tags):
        if ALIVE_TAG in tags:
            calls.append(tags)
            if len(calls) <= 3:
                raise OSError("database is locked")
        real(run_id, tags)

    monkeypatch.setattr(instance, "add_run_tags", away_three_times)

    def body(context, signs):
        assert wait_until(lambda: sign(instance, context) is not None, 20, 0.01)
        signs.raise_if_terminated()

    assert run(instance, body).success and len(calls) >= 4


def test_a_beat_that_hangs_does_not_hold_the_run(monkeypatch):
    monkeypatch.setattr(run_heartbeat, "_LAST_BEAT_SECONDS", 0.01)
    hangs, let_go = threading.Event(), threading.Event()

    def beat() -> bool:
        hangs.set()
        return let_go.wait(60)

    with send_periodically(beat, 0.001):
        assert hangs.wait(20)
    (thread,) = beats()
    let_go.set()
    thread.join(20)
    assert beats() == []


@pytest.mark.parametrize("end", ["report_run_failed", "report_run_canceled"])
def test_a_run_that_was_ended_stops_and_stays_ended(instance, end):
    after = []

    def body(context, signs):
        getattr(instance, end)(context.run, "ended from outside")
        assert wait_until(lambda: beats() == [], 20, 0.01)
        signs.raise_if_terminated()
        after.append("worked on")

    expected = {"report_run_failed": DagsterRunStatus.FAILURE, "report_run_canceled": DagsterRunStatus.CANCELED}[end]
    result = run(instance, body)
    assert after == []
    assert instance.get_run_by_id(result.run_id).status is expected
    ends = {DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED}
    assert len(instance.all_logs(result.run_id, of_type=ends)) == 1, "it is not ended a second time"


def test_a_wait_of_an_hour_ends_with_the_run(instance):
    after = []

    def body(context, signs):
        instance.report_run_failed(context.run, "ended from outside")
        signs.sleep(3600)
        after.append("waited")

    assert not run(instance, body).success
    assert after == []


def test_a_deleted_run_stops(instance):
    stopped = []

    def body(context, signs):
        instance.delete_run(context.run.run_id)
        assert wait_until(lambda: beats() == [], 20, 0.01)
        with pytest.raises(DagsterExecutionInterruptedError):
            signs.raise_if_terminated()
        stopped.append(True)

    run(instance, body)
    assert stopped


@pytest.fixture
def unmoved(monkeypatch: pytest.MonkeyPatch) -> activity.ProgressClock:
    """Progress that nothing of this test makes, and that counts for a tenth of a second."""
    mark = activity.ProgressClock()
    monkeypatch.setattr(activity, "PROCESS", mark)
    monkeypatch.setattr(run_heartbeat, "STILL_SECONDS", 0.1)
    return mark


def shows_new_signs(instance: DagsterInstance, context: Any, step: Callable[[], object] = lambda: None) -> bool:
    """Whether three new signs come, when `step` is made again and again."""
    seen: set[str | None] = set()

    def more() -> bool:
        step()
        seen.add(sign(instance, context))
        return len(seen) > 3

    return wait_until(more, 20, 0.01)


@pytest.fixture
def stillness(instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What each beat that found nothing moved found of a step: is there one?"""
    real: Callable[[DagsterInstance, str], bool] = run_heartbeat._in_a_step
    found: list[bool] = []

    def in_a_step(instance: DagsterInstance, run_id: str) -> bool:
        found.append(real(instance, run_id))
        return found[-1]

    monkeypatch.setattr(run_heartbeat, "_in_a_step", in_a_step)
    return found


def test_a_step_that_hangs_shows_no_sign_until_it_moves_again(instance, unmoved, stillness):
    def body(context, signs):
        assert wait_until(lambda: True in stillness, 20, 0.01)
        last = sign(instance, context)
        assert wait_until(lambda: stillness.count(True) > 5, 20, 0.01)
        assert sign(instance, context) == last and stillness[-1]
        assert shows_new_signs(instance, context, activity.advance)

    assert run(instance, body).success


def test_a_run_whose_step_hangs_is_ended(instance, unmoved, stillness, monkeypatch):
    monkeypatch.setattr(lost_runs, "_is_ours", lambda *_: True)
    after = []

    def body(context, signs):
        assert wait_until(lambda: True in stillness, 20, 0.01)
        look = Looks(instance)
        look(lost_runs.LOOKS)
        assert instance.get_run_by_id(context.run.run_id).status is DagsterRunStatus.STARTED
        assert context.run.run_id in look()
        assert wait_until(lambda: beats() == [], 20, 0.01)
        signs.raise_if_terminated()
        after.append("worked on")

    result = run(instance, body)
    assert after == [] and instance.get_run_by_id(result.run_id).status is DagsterRunStatus.FAILURE


def test_a_wait_that_was_asked_for_shows_signs(instance, unmoved):
    def body(context, signs):
        quota = RetryState(Retry(), "commit").next_wait(TransientError("rate limited", wait=3600.0, quota=True))
        assert quota == 3600.0 and shows_new_signs(instance, context)

    assert run(instance, body).success


def test_between_two_steps_there_are_signs(instance, unmoved, monkeypatch):
    """Whatever Dagster does there, and however long it takes."""
    seen = []

    @asset
    def first() -> None:
        pass

    @asset(deps=[first])
    def second(context: AssetExecutionContext, run_heartbeat: RunHeartbeat) -> None:
        pass

    @success_hook
    def slow(context):
        seen.append(context.op.name)
        record = instance.get_run_by_id(context.run_id)
        assert shows_new_signs(instance, SimpleNamespace(run=record))

    made = Definitions([first, second], resources={"run_heartbeat": RunHeartbeat()}, executor=in_process_executor)
    job = made.resolve_implicit_global_asset_job_def().with_hooks({slow})
    assert job.execute_in_process(instance=instance).success
    assert seen == ["first", "second"]


def test_a_run_that_waits_for_a_slot_of_a_pool_shows_signs(instance, unmoved):
    slots = instance.event_log_storage.set_concurrency_slots
    slots("full", 0)

    def free_a_slot() -> None:
        def waits() -> bool:
            return any(ALIVE_TAG in run.tags for run in instance.get_runs(RunsFilter(tags={"case": "full"})))

        if wait_until(waits, 20, 0.02):
            slots("full", 1)

    helper = threading.Thread(target=free_a_slot)
    helper.start()
    assert run(instance, lambda context, signs: None, pool="full", tags={"case": "full"}).success
    helper.join()


def test_every_step_of_the_project_shows_signs_of_life():
    """lost_runs judges every run of the code location: one that can't beat would be ended after ten minutes."""
    jobs = defs.get_repository_def().get_all_jobs()
    ops = {op.name: op.required_resource_keys for job in jobs for op in job.graph.iterate_op_defs()}
    assert {"work_plan", "parquet_shards", "hub_commit"} < set(ops)
    assert [name for name, resources in ops.items() if "run_heartbeat" not in resources] == []


def test_the_sign_is_none_of_the_tags_that_people_see():
    assert get_tag_type(ALIVE_TAG) is TagType.HIDDEN
