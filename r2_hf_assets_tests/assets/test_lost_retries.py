"""lost_retries: which failed runs it reports once more, and which it leaves alone."""

import json
from collections.abc import Iterator

import pytest
import yaml
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.remote_origin import RegisteredCodeLocationOrigin

from r2_hf_assets.assets.lost_retries import QUIET_LOOKS, Decision, decide, lost_retries
from r2_hf_assets_tests.assets.test_lost_runs import Looks, started
from r2_hf_assets_tests.world import ROOT

SETTLED = -1


@pytest.mark.parametrize(
    ("waits", "before", "now", "again"),
    [
        (True, None, SETTLED, False),  # it had failed before anybody looked
        (True, {}, 1, False),
        (True, {"run": 1}, 2, False),
        (True, {"run": 2}, SETTLED, True),
        (False, {"run": 2}, SETTLED, False),  # its retry has begun
        (False, {}, SETTLED, False),
        (True, {"run": SETTLED}, SETTLED, False),  # reported once is enough
        (True, {"run of long ago": 2}, 1, False),
    ],
)
def test_decide(waits, before, now, again):
    assert decide({"run": waits}, before, looks=3) == Decision({"run": now}, ("run",) if again else ())


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    shipped = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    with DagsterInstance.ephemeral(settings={"run_retries": shipped["run_retries"]}) as made:
        yield made


@pytest.fixture
def look(instance: DagsterInstance) -> Looks:
    """The sensor, whose first look has been."""
    looks = Looks(instance, lost_retries)
    looks()
    return looks


def failures(instance: DagsterInstance, run_id: str) -> int:
    """How often the run was reported as failed."""
    return sum(log.dagster_event is not None and log.dagster_event.is_run_failure for log in instance.all_logs(run_id))


def fail(instance: DagsterInstance, run_id: str) -> None:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_run_failed(run)


@pytest.mark.parametrize("marked", ["true", "false"], ids=["missed", "given up"])
def test_a_failed_run_without_its_retry_is_reported_once_more(instance, look, marked):
    run_id = started(instance)
    fail(instance, run_id)
    instance.add_run_tags(run_id, {"dagster/will_retry": marked})
    assert look(QUIET_LOOKS - 1) == "1 failed runs looked at, 1 wait for their retry; reported again: none"
    assert failures(instance, run_id) == 1
    assert look() == f"1 failed runs looked at, 0 wait for their retry; reported again: {run_id}"
    assert failures(instance, run_id) == 2
    assert instance.get_run_by_id(run_id).tags["dagster/will_retry"] == "true"
    look(QUIET_LOOKS + 1)
    assert failures(instance, run_id) == 2


def test_a_retry_that_was_made_and_never_queued_is_asked_for_again(instance, look):
    run_id = started(instance)
    fail(instance, run_id)
    retry = {"parent_run_id": run_id, "root_run_id": run_id, "tags": {"dagster/parent_run_id": run_id}}
    started(instance, status=DagsterRunStatus.NOT_STARTED, **retry)
    look(QUIET_LOOKS)
    assert failures(instance, run_id) == 2


@pytest.mark.parametrize("status", [DagsterRunStatus.QUEUED, DagsterRunStatus.STARTED, DagsterRunStatus.SUCCESS])
def test_a_run_whose_retry_has_begun_is_left_alone(instance, look, status):
    run_id = started(instance)
    fail(instance, run_id)
    retry = {"parent_run_id": run_id, "root_run_id": run_id, "tags": {"dagster/parent_run_id": run_id}}
    started(instance, status=status, **retry)
    look(QUIET_LOOKS + 1)
    assert failures(instance, run_id) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"location": RegisteredCodeLocationOrigin("another")},
        {"origin": False},
        {"tags": {"dagster/max_retries": "0"}},
        {"tags": {"dagster/retry_on_asset_or_op_failure": "false", "dagster/failure_reason": "STEP_FAILURE"}},
    ],
    ids=("elsewhere", "of the command line", "told not to", "waiting does not mend it"),
)
def test_runs_that_are_not_retried(instance, look, options):
    run_id = started(instance, **options)
    fail(instance, run_id)
    look(QUIET_LOOKS + 1)
    assert failures(instance, run_id) == 1


def test_a_canceled_run_is_not_retried(instance, look):
    instance.report_run_canceled(instance.get_run_by_id(started(instance)))
    assert look(QUIET_LOOKS + 1).startswith("0 failed runs")


def test_runs_that_failed_before_the_first_look_are_left_as_they_are(instance):
    run_id = started(instance)
    fail(instance, run_id)
    look = Looks(instance, lost_retries)
    look(QUIET_LOOKS + 2)
    assert failures(instance, run_id) == 1
    assert json.loads(look.cursor or "") == {run_id: SETTLED}


def test_without_run_retries_nothing_is_looked_at():
    with DagsterInstance.ephemeral() as instance:
        assert "not enabled" in Looks(instance, lost_retries)()
