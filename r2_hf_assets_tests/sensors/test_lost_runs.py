"""lost_runs: which runs it ends as lost, which it ignores, and that a lost run is retried."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from dagster import (
    AssetKey,
    DagsterInstance,
    DagsterRunStatus,
)
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.test_utils import create_run_for_test

from r2_hf_assets.runs.heartbeat import ALIVE_TAG, HEARTBEAT_SECONDS
from r2_hf_assets.sensors.lost_runs import MAX_UNCHANGED, TICK_EVERY_SECONDS, Observed, lost_runs, select_lost
from r2_hf_assets_tests.sensors.ticks import HERE, Ticks
from r2_hf_assets_tests.support.world import ROOT


@pytest.mark.parametrize(
    ("before", "heartbeat", "after", "lost"),
    [
        (None, "", Observed("", 0), False),
        (None, "12:00", Observed("12:00", 0), False),
        (Observed("", 0), "", Observed("", 1), False),
        (Observed("", 2), "", Observed("", 3), True),
        (Observed("", 2), "12:00", Observed("12:00", 0), False),
        (Observed("12:00", 1), "12:00", Observed("12:00", 2), False),
        (Observed("12:00", 2), "12:00", Observed("12:00", 3), True),
        (Observed("12:00", 9), "12:00", Observed("12:00", 10), True),
        (Observed("12:00", 2), "12:01", Observed("12:01", 0), False),
        (Observed("12:00", 2), "11:00", Observed("11:00", 0), False),  # the host's clock was set back
    ],
)
def test_select_lost(before, heartbeat, after, lost):
    observed = {"healthy": Observed("12:00", 0), "ended": Observed("12:00", 99), **({"run": before} if before else {})}
    now, result = select_lost({"run": heartbeat, "healthy": "12:01"}, observed, max_unchanged=3)
    assert now == {"run": after, "healthy": Observed("12:01", 0)}
    assert result == (["run"] if lost else [])


def test_five_missed_heartbeats_do_not_end_a_run():
    assert MAX_UNCHANGED * TICK_EVERY_SECONDS >= 5 * HEARTBEAT_SECONDS
    assert lost_runs.minimum_interval_seconds == TICK_EVERY_SECONDS


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    """An instance with the run retries of the shipped dagster.yaml."""
    shipped = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    with DagsterInstance.ephemeral(settings={"run_retries": shipped["run_retries"]}) as made:
        yield made


def started(instance: DagsterInstance, **options: Any) -> str:
    """Create a run, in progress and of this code location unless `options` differ; return its id."""
    repository = RemoteRepositoryOrigin(options.pop("location", HERE), "__repository__")
    origin = RemoteJobOrigin(repository, "__ASSET_JOB") if options.pop("origin", True) else None
    status = options.pop("status", DagsterRunStatus.STARTED)
    made = create_run_for_test(instance, "__ASSET_JOB", status=status, remote_job_origin=origin, **options)
    return made.run_id


def status(instance: DagsterInstance, run_id: str) -> DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_without_heartbeat_is_ended_and_retried(instance):
    silent, alive = started(instance), started(instance, tags={ALIVE_TAG: "0"})
    ticks = Ticks(lost_runs, instance)
    for n in range(MAX_UNCHANGED):
        status_message = ticks.skip_message()
        instance.add_run_tags(alive, {ALIVE_TAG: f"{n + 1}"})
        assert status_message == (
            f"2 runs in progress, the oldest heartbeat unchanged for {n} of {MAX_UNCHANGED} ticks; ended as lost: none"
        )
    assert status(instance, silent) is DagsterRunStatus.STARTED
    assert silent in ticks.skip_message()
    assert status(instance, silent) is DagsterRunStatus.FAILURE
    assert instance.get_run_by_id(silent).tags["dagster/will_retry"] == "true"
    assert status(instance, alive) is DagsterRunStatus.STARTED
    assert "1 runs in progress" in ticks.skip_message()
    assert list(json.loads(ticks.cursor or "")) == [alive]


def test_a_run_killed_after_some_heartbeats_is_ended_and_the_last_one_is_reported(instance):
    run_id = started(instance, tags={ALIVE_TAG: "2026-01-01T00:00:00"})
    Ticks(lost_runs, instance).skip_message(MAX_UNCHANGED + 1)
    assert status(instance, run_id) is DagsterRunStatus.FAILURE
    (failure,) = [log for log in instance.all_logs(run_id) if log.is_dagster_event]
    assert "the last one is of 2026-01-01T00:00:00" in failure.message


ELSEWHERE = RegisteredCodeLocationOrigin("another")


@pytest.mark.parametrize(
    "options",
    [
        {"location": ELSEWHERE},
        {"location": ELSEWHERE, "tags": {ALIVE_TAG: "copied"}},
        {"origin": False},
        {"origin": False, "asset_selection": frozenset({AssetKey("hub_commit"), AssetKey("other")})},
        {"status": DagsterRunStatus.STARTING},
        {"status": DagsterRunStatus.CANCELING},
        {"status": DagsterRunStatus.SUCCESS},
    ],
    ids=("elsewhere", "elsewhere and copied", "of all assets", "of others too", "starting", "canceling", "done"),
)
def test_runs_of_other_locations_or_states_are_ignored(instance, options):
    run_id = started(instance, **options)
    before = status(instance, run_id)
    assert Ticks(lost_runs, instance).skip_message(MAX_UNCHANGED + 2).startswith("0 runs in progress")
    assert status(instance, run_id) is before


def test_a_run_of_the_command_line_is_identified_by_its_assets(instance):
    run_id = started(instance, origin=False, asset_selection=frozenset({AssetKey("hub_commit")}))
    Ticks(lost_runs, instance).skip_message(MAX_UNCHANGED + 1)
    assert status(instance, run_id) is DagsterRunStatus.FAILURE


def test_a_run_that_ends_during_the_tick_keeps_its_status(instance, monkeypatch):
    run_id = started(instance)
    ticks = Ticks(lost_runs, instance)
    ticks.skip_message(MAX_UNCHANGED)
    real = instance.get_runs

    def get_runs_then_cancel(*arguments, **options):
        runs = real(*arguments, **options)
        instance.report_run_canceled(instance.get_run_by_id(run_id))
        return runs

    monkeypatch.setattr(instance, "get_runs", get_runs_then_cancel)
    assert ticks.skip_message().endswith("ended as lost: none")
    assert status(instance, run_id) is DagsterRunStatus.CANCELED
