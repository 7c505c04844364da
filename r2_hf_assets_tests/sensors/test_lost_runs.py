"""lost_runs: which runs it takes for lost, which it leaves alone, and that a lost one is marked to be retried."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from dagster import (
    AssetKey,
    DagsterInstance,
    DagsterRunStatus,
    SensorDefinition,
    SensorResult,
    SkipReason,
    build_sensor_context,
)
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.test_utils import create_run_for_test

from r2_hf_assets.definitions import defs
from r2_hf_assets.runs.heartbeat import ALIVE_TAG, HEARTBEAT_SECONDS
from r2_hf_assets.sensors.lost_runs import LOOK_EVERY_SECONDS, LOOKS, Seen, lost_runs, select_lost
from r2_hf_assets_tests.support.world import ROOT

HERE = GrpcServerCodeLocationOrigin(host="127.0.0.1", port=1, location_name="r2_hf_assets")


@pytest.mark.parametrize(
    ("seen", "sign", "known", "lost"),
    [
        (None, "", Seen("", 0), False),
        (None, "12:00", Seen("12:00", 0), False),
        (Seen("", 0), "", Seen("", 1), False),
        (Seen("", 2), "", Seen("", 3), True),
        (Seen("", 2), "12:00", Seen("12:00", 0), False),
        (Seen("12:00", 1), "12:00", Seen("12:00", 2), False),
        (Seen("12:00", 2), "12:00", Seen("12:00", 3), True),
        (Seen("12:00", 9), "12:00", Seen("12:00", 10), True),
        (Seen("12:00", 2), "12:01", Seen("12:01", 0), False),
        (Seen("12:00", 2), "11:00", Seen("11:00", 0), False),  # its host's clock was set back: a sign all the same
    ],
)
def test_decide(seen, sign, known, lost):
    others = {"healthy": Seen("12:00", 0), "over": Seen("12:00", 99)}
    now, found = select_lost({"run": sign, "healthy": "12:01"}, {**others, **({"run": seen} if seen else {})}, looks=3)
    assert now == {"run": known, "healthy": Seen("12:01", 0)}
    assert found == (["run"] if lost else [])


def test_several_beats_may_be_missed():
    assert LOOKS * LOOK_EVERY_SECONDS >= 5 * HEARTBEAT_SECONDS
    assert lost_runs.minimum_interval_seconds == LOOK_EVERY_SECONDS


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    """An instance that retries runs as the shipped dagster.yaml says."""
    shipped = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    with DagsterInstance.ephemeral(settings={"run_retries": shipped["run_retries"]}) as made:
        yield made


class Looks:
    """A sensor as the daemon evaluates it, look after look."""

    def __init__(self, instance: DagsterInstance, watcher: SensorDefinition = lost_runs) -> None:
        self.instance = instance
        self.watcher = watcher
        self.cursor: str | None = None

    def __call__(self, times: int = 1) -> str:
        """What the last of them says."""
        said = ""
        for _ in range(times):
            context = build_sensor_context(self.instance, self.cursor, definitions=defs, sensor_name=self.watcher.name)
            context._code_location_origin = HERE  # as the code server fills it in
            result = self.watcher(context)
            assert isinstance(result, SensorResult) and isinstance(result.skip_reason, SkipReason)
            self.cursor, said = result.cursor, result.skip_reason.skip_message or ""
        return said


def started(instance: DagsterInstance, **options: Any) -> str:
    """A run in progress of this code location, unless told otherwise; its id."""
    repository = RemoteRepositoryOrigin(options.pop("location", HERE), "__repository__")
    origin = RemoteJobOrigin(repository, "__ASSET_JOB") if options.pop("origin", True) else None
    status = options.pop("status", DagsterRunStatus.STARTED)
    made = create_run_for_test(instance, "__ASSET_JOB", status=status, remote_job_origin=origin, **options)
    return made.run_id


def status(instance: DagsterInstance, run_id: str) -> DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_silent_run_is_ended_and_will_be_retried(instance):
    silent, alive = started(instance), started(instance, tags={ALIVE_TAG: "0"})
    look = Looks(instance)
    for n in range(LOOKS):
        said = look()
        instance.add_run_tags(alive, {ALIVE_TAG: f"{n + 1}"})
        assert said == (
            f"2 runs in progress, the quietest showed no sign for {n} of {LOOKS} looks; ended as lost: none"
        )
    assert status(instance, silent) is DagsterRunStatus.STARTED
    assert silent in look()
    assert status(instance, silent) is DagsterRunStatus.FAILURE
    assert instance.get_run_by_id(silent).tags["dagster/will_retry"] == "true"
    assert status(instance, alive) is DagsterRunStatus.STARTED
    assert "1 runs in progress" in look()
    assert list(json.loads(look.cursor or "")) == [alive]


def test_a_run_killed_after_some_signs_is_ended_and_the_last_one_is_named(instance):
    run_id = started(instance, tags={ALIVE_TAG: "2026-01-01T00:00:00"})
    Looks(instance)(LOOKS + 1)
    assert status(instance, run_id) is DagsterRunStatus.FAILURE
    (failure,) = [log for log in instance.all_logs(run_id) if log.is_dagster_event]
    assert "its last sign is of 2026-01-01T00:00:00" in failure.message


ELSEWHERE = RegisteredCodeLocationOrigin("another")


@pytest.mark.parametrize(
    "options",
    [
        {"location": ELSEWHERE},
        {"location": ELSEWHERE, "tags": {ALIVE_TAG: "copied"}},
        {"origin": False},
        {"origin": False, "asset_selection": frozenset({AssetKey("hub_commit"), AssetKey("somebody_elses")})},
        {"status": DagsterRunStatus.STARTING},
        {"status": DagsterRunStatus.CANCELING},
        {"status": DagsterRunStatus.SUCCESS},
    ],
    ids=("elsewhere", "elsewhere and copied", "of all assets", "of others too", "starting", "canceling", "done"),
)
def test_runs_that_are_not_its_business(instance, options):
    run_id = started(instance, **options)
    before = status(instance, run_id)
    assert Looks(instance)(LOOKS + 2).startswith("0 runs in progress")
    assert status(instance, run_id) is before


def test_a_run_of_the_command_line_is_known_by_its_assets(instance):
    run_id = started(instance, origin=False, asset_selection=frozenset({AssetKey("hub_commit")}))
    Looks(instance)(LOOKS + 1)
    assert status(instance, run_id) is DagsterRunStatus.FAILURE


def test_a_run_that_ends_while_it_is_judged_keeps_its_end(instance, monkeypatch):
    run_id = started(instance)
    look = Looks(instance)
    look(LOOKS)
    real = instance.get_runs

    def and_then_it_ends(*arguments, **options):
        found = real(*arguments, **options)
        instance.report_run_canceled(instance.get_run_by_id(run_id))
        return found

    monkeypatch.setattr(instance, "get_runs", and_then_it_ends)
    assert look().endswith("ended as lost: none")
    assert status(instance, run_id) is DagsterRunStatus.CANCELED
