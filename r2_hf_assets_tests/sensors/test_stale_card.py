"""stale_card: a card is due after commits, not too often, and not twice at once."""

import time

import pytest
from dagster import (
    AssetMaterialization,
    DagsterInstance,
    DagsterRunStatus,
    SensorResult,
    SkipReason,
    build_sensor_context,
)
from dagster._core.test_utils import create_run_for_test

from r2_hf_assets.asset_keys import CARD
from r2_hf_assets.definitions import defs
from r2_hf_assets.partitions import partition_key
from r2_hf_assets.sensors.stale_card import CARD_JOB, READ_UP_TO, CardState, card_state, refresh_reason, stale_card


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (CardState(0, None), "no commit was recorded since the last card"),
        (CardState(0, 500.0), "no commit was recorded since the last card"),
        (CardState(7, 29.4), "7 commits since the last card; the next update is in 1 minutes"),
        (CardState(7, 0.0), "7 commits since the last card; the next update is in 30 minutes"),
        (CardState(7, 60.0, running=True), "7 commits since the last card; an update is queued or running"),
        (CardState(7, 30.0), None),
        (CardState(7, -500.0), None),  # the clock was set back: wait for no hours
        (CardState(7, None), None),
    ],
)
def test_a_card_is_due_after_commits_and_an_interval(state, reason):
    assert refresh_reason(state, 30.0) == reason


@pytest.fixture
def instance(tmp_path):
    with DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def commit(instance: DagsterInstance, number: int) -> None:
    event = AssetMaterialization("hub_commit", partition=partition_key("en", number))
    instance.report_runless_asset_event(event)


def card(instance: DagsterInstance, read_up_to: int) -> None:
    instance.report_runless_asset_event(AssetMaterialization(CARD, metadata={READ_UP_TO: read_up_to}))


def last(instance: DagsterInstance) -> int:
    return max(instance.event_log_storage.get_maximum_record_id() or 0, 0)


def test_the_state_counts_commits_after_the_card(instance):
    assert card_state(instance) == CardState(0, None)
    commit(instance, 0)
    commit(instance, 1)
    assert card_state(instance) == CardState(2, None)
    read = last(instance)
    commit(instance, 2)  # during the card's run
    card(instance, read)
    commit(instance, 0)
    state = card_state(instance, now=time.time() + 600)
    assert state.commits == 2
    assert state.minutes == pytest.approx(10, abs=0.5)
    requested = card_state(instance, requested=time.time() + 300, now=time.time() + 600)
    assert requested.minutes == pytest.approx(5, abs=0.5)


def test_a_running_card_job_is_detected(instance):
    commit(instance, 0)
    for status, running in ((DagsterRunStatus.SUCCESS, False), (DagsterRunStatus.STARTED, True)):
        create_run_for_test(instance, job_name=CARD_JOB, status=status)
        assert card_state(instance).running is running


def tick(instance: DagsterInstance, cursor: str | None = None) -> SensorResult | SkipReason:
    context = build_sensor_context(instance=instance, cursor=cursor, repository_def=defs.get_repository_def())
    result = stale_card(context)
    assert isinstance(result, SensorResult | SkipReason)
    return result


def test_the_sensor_requests_once_and_skips_with_numbers(instance):
    assert tick(instance) == SkipReason("no commit was recorded since the last card")
    commit(instance, 0)
    requested = tick(instance)
    assert isinstance(requested, SensorResult) and len(requested.run_requests or []) == 1
    again = tick(instance, requested.cursor)
    assert again == SkipReason("1 commits since the last card; the next update is in 30 minutes")
    assert isinstance(tick(instance, str(float(requested.cursor or 0) - 1801)), SensorResult)


def test_the_sensor_is_off_by_default_and_starts_the_card_job():
    assert stale_card.default_status.value == "STOPPED"
    job = defs.resolve_job_def(stale_card.job_name or "")
    assert job.asset_layer.executable_asset_keys == {CARD}
