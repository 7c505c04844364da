"""alerts on a real plan and instance, with a mail server and Slack's API: each problem is told once by each way."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import AssetMaterialization, DagsterInstance, DagsterRunStatus
from dagster._core.scheduler.instigation import InstigatorType
from dagster._core.storage.tags import WILL_RETRY_TAG

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.definitions import defs
from r2_hf_assets.retry import RUN_ATTEMPTS
from r2_hf_assets.runs.problems import Observation, Problem
from r2_hf_assets.runs.ticks import SENSORS
from r2_hf_assets.sensors.alerts import alerts, message
from r2_hf_assets_tests.sensors.instigator import Instigator
from r2_hf_assets_tests.sensors.ticks import KEYS, PlannedTicks, Ticks
from r2_hf_assets_tests.support.mailbox import Mailbox, slack_server, smtp_server

LOST = "No heartbeat in 10 ticks: the host or process died."


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    """An instance with ticks."""
    (tmp_path / "home").mkdir()
    with DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        yield instance


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    """A mail server that the settings name."""
    with smtp_server() as box:
        monkeypatch.setenv("ALERT_EMAIL_TO", "a@b.de")
        monkeypatch.setenv("ALERT_SMTP_URL", box.url)
        monkeypatch.setenv("ALERT_UI_URL", "https://ui.b.de/")
        yield box


@pytest.fixture
def tick(ticks: PlannedTicks) -> Ticks:
    return Ticks(alerts, ticks.instance)


def fail(ticks: PlannedTicks, key: str, attempt: int) -> str:
    """Fail an attempt as lost_runs does; return the run's id."""
    run_id = ticks.attempt(key, attempt, DagsterRunStatus.STARTED)
    run = ticks.instance.get_run_by_id(run_id)
    assert run is not None
    ticks.instance.report_run_failed(run, LOST)
    return run_id


def test_without_settings_the_sensor_says_what_to_set(tick: Ticks) -> None:
    assert "set ALERT_EMAIL_TO and ALERT_SMTP_URL, or ALERT_SLACK_CHANNEL" in tick.skip_message()


def test_a_chunk_that_is_given_up_is_told_once(ticks: PlannedTicks, tick: Ticks, box: Mailbox) -> None:
    for attempt in range(1, RUN_ATTEMPTS):
        fail(ticks, "en|chunk_0001", attempt)
    assert tick.skip_message() == "problems: 0; e-mail: 0 told now", "attempts are left"
    run_id = fail(ticks, "en|chunk_0001", RUN_ATTEMPTS)
    assert tick.skip_message() == "problems: 1; e-mail: 1 told now"
    assert tick.skip_message(3) == "problems: 1; e-mail: 0 told now"
    (mail,) = box.mails
    assert mail["Subject"] == f"me/speech: en|chunk_0001 failed 5 times and is given up: {LOST}"[:120]
    assert mail.get_content().split("\n")[:2] == [
        f"en|chunk_0001 failed 5 times and is given up: {LOST}",
        f"https://ui.b.de/runs/{run_id}",
    ]


def test_a_run_that_dagster_retries_is_not_told(ticks: PlannedTicks, tick: Ticks, box: Mailbox) -> None:
    run_id = fail(ticks, "en|chunk_0001", RUN_ATTEMPTS)
    ticks.instance.add_run_tags(run_id, {WILL_RETRY_TAG: "true"})
    assert tick.skip_message() == "problems: 0; e-mail: 0 told now"
    retry = fail(ticks, "en|chunk_0001", RUN_ATTEMPTS)
    ticks.instance.add_run_tags(run_id, {"dagster/auto_retry_run_id": retry})
    assert tick.skip_message() == "problems: 1; e-mail: 1 told now"
    assert f"/runs/{retry}" in box.mails[0].get_content()


def test_a_chunk_that_fails_again_after_it_was_done_is_told_again(
    ticks: PlannedTicks, tick: Ticks, box: Mailbox
) -> None:
    key = "en|chunk_0001"
    fail(ticks, key, RUN_ATTEMPTS)
    tick()
    tags = {"dagster/data_version": ticks.digests[key]}
    ticks.instance.report_runless_asset_event(AssetMaterialization(COMMIT, partition=key, tags=tags))
    assert tick.skip_message() == "problems: 0; e-mail: 0 told now"
    ticks.instance.wipe_assets([COMMIT])
    assert tick.skip_message() == "problems: 1; e-mail: 1 told now" and len(box.mails) == 2


def test_a_chunk_that_a_person_launches_again_is_told_once(ticks: PlannedTicks, tick: Ticks, box: Mailbox) -> None:
    fail(ticks, "en|chunk_0001", RUN_ATTEMPTS)
    assert tick.skip_message() == "problems: 1; e-mail: 1 told now"
    run = ticks.instance.get_run_by_id(ticks.run("en|chunk_0001", DagsterRunStatus.STARTED))
    assert tick.skip_message() == "problems: 0; e-mail: 0 told now" and run is not None
    ticks.instance.report_run_failed(run, LOST)
    assert tick.skip_message() == "problems: 1; e-mail: 0 told now"


def test_many_problems_are_one_message(ticks: PlannedTicks, tick: Ticks, box: Mailbox) -> None:
    for key in KEYS:
        fail(ticks, key, RUN_ATTEMPTS)
    tick()
    (mail,) = box.mails
    assert mail["Subject"] == "me/speech: 4 problems" and mail.get_content().count("is given up") == 4
    problems = [Problem(f"k{number}", f"text {number}", "runs/1") for number in range(25)]
    subject, lines = message(problems, "me/speech", "http://ui")
    assert subject == "me/speech: 25 problems" and len(lines) == 21 and lines[-1].text == "and 5 more"


def test_a_sensor_is_told_at_its_third_failed_tick(ticks: PlannedTicks, tick: Ticks, box: Mailbox) -> None:
    sensor = Instigator(ticks.instance, "planned_chunks")
    sensor.tick("settings: not set: HF_TOKEN")
    sensor.tick("settings: not set: HF_TOKEN")
    assert tick.skip_message() == "problems: 0; e-mail: 0 told now"
    sensor.tick("settings: not set: HF_TOKEN")
    tick.skip_message(2)
    assert box.mails[0].get_content().split("\n")[:2] == [
        "the sensor planned_chunks fails: settings: not set: HF_TOKEN",
        "https://ui.b.de/locations/r2_hf_assets/sensors/planned_chunks",
    ]
    sensor.tick()
    sensor.tick("settings: not set: HF_TOKEN")
    assert tick.skip_message() == "problems: 0; e-mail: 0 told now"
    for _ in range(2):
        sensor.tick("settings: not set: HF_TOKEN")
    tick()
    assert len(box.mails) == 1, "one good tick between failing ones is not the end of the problem"
    sensor.tick()
    tick()
    for _ in range(3):
        sensor.tick("another one")
    tick()
    assert len(box.mails) == 2 and "another one" in box.mails[1]["Subject"]


def test_a_schedule_is_told_at_once_and_other_sensors_are_not(ticks: PlannedTicks, tick: Ticks, box: Mailbox) -> None:
    for name in ("alerts", "of_an_earlier_release"):
        sensor = Instigator(ticks.instance, name)
        for _ in range(5):
            sensor.tick("failed")
    Instigator(ticks.instance, "check_schedule", InstigatorType.SCHEDULE).tick("failed")
    tick()
    (mail,) = box.mails
    assert mail["Subject"] == "me/speech: the schedule check_schedule fails: failed"


def test_an_undelivered_message_is_not_lost_and_the_other_way_gets_it_once(
    ticks: PlannedTicks, tick: Ticks, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_SLACK_CHANNEL", "#speech")
    monkeypatch.setenv("ALERT_SLACK_TOKEN", "xoxb-1")
    fail(ticks, "en|chunk_0001", RUN_ATTEMPTS)
    with slack_server(monkeypatch) as slack:
        box.refuse = "451 try later"
        refused = "NOT DELIVERED, again at the next tick: the mail server 127.0.0.1 answers 451 try later"
        assert tick.skip_message(2) == f"problems: 1; e-mail: {refused}; Slack: 0 told now"
        assert (len(slack.posts), len(box.mails)) == (1, 0)
        box.refuse = ""
        assert tick.skip_message() == "problems: 1; e-mail: 1 told now; Slack: 0 told now"
        tick()
        assert (len(slack.posts), len(box.mails)) == (1, 1)


def test_problems_are_told_while_other_settings_are_missing(
    ticks: PlannedTicks, tick: Ticks, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(ticks, "en|chunk_0001", RUN_ATTEMPTS)
    tick()
    monkeypatch.setenv("EPISODES_PER_CHUNK", "many")
    sensor = Instigator(ticks.instance, "planned_chunks")
    for _ in range(3):
        sensor.tick("settings: EPISODES_PER_CHUNK='many' must be a whole number")
    assert tick.skip_message() == "problems: 1; e-mail: 1 told now"
    monkeypatch.delenv("EPISODES_PER_CHUNK")
    assert tick.skip_message() == "problems: 2; e-mail: 0 told now", "the chunk was told before"
    assert json.loads(tick.cursor or "") == {"e-mail": ["chunk en|chunk_0001", "sensor planned_chunks"]}


def test_a_problem_is_one_line() -> None:
    seen = Observation()
    seen.add("k", "two\nlines  of\ttext", "p")
    assert seen.problems["k"].text == "two lines of text"


def test_the_list_of_sensors_is_complete() -> None:
    assert set(SENSORS) == {sensor.name for sensor in defs.get_repository_def().sensor_defs}
