"""new_episodes on a real bucket and plan: when it requests a scan, and why it skips."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import obstore
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.test_utils import create_run_for_test

from r2_hf_assets.asset_keys import WORK_PLAN
from r2_hf_assets.bucket import listing
from r2_hf_assets.bucket.listing import list_language_folders
from r2_hf_assets.bucket.pages import list_pages
from r2_hf_assets.cli.in_process import execute
from r2_hf_assets.errors import AccessError, RetriesExhausted
from r2_hf_assets.plan.amendments import REMOVE, Target
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.sensors import new_episodes as module
from r2_hf_assets.sensors.new_episodes import REPEAT_S, Cursor, new_episodes
from r2_hf_assets.settings import load_for_scan
from r2_hf_assets_tests.sensors.ticks import Ticks
from r2_hf_assets_tests.support.build_samples import put_folders
from r2_hf_assets_tests.support.world import World

SWEEPING = Cursor(folder="en", after="ep/", chunks=2, seen=5, new={"en": 1})


def test_a_cursor_of_release_0_1_begins_a_sweep() -> None:
    assert Cursor.model_validate_json('{"sweep": {"folder": "en"}, "waited": []}') == Cursor()


class SweepTicks(Ticks):
    """Evaluates new_episodes without a pause between sweeps."""

    def __init__(self, world: World, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(new_episodes, instance)
        monkeypatch.setattr(module, "SWEEP_EVERY_S", 0.0)
        self.world = world

    def requested(self) -> tuple[list[str], str | None]:
        """The languages of the requested scan, and the run key."""
        (request,) = self.requests()
        config = request.run_config["ops"]["work_plan"]["config"]
        assert config["automatic"] is True
        return config["languages"], request.run_key

    def put(self, *episodes: str) -> None:
        put_folders(self.world.store(), *episodes)

    @property
    def plan(self) -> PlanStore:
        settings = load_for_scan()
        return open_plan(settings.plan, settings.r2)

    def run(self, status: DagsterRunStatus, **options: Any) -> str:
        return create_run_for_test(self.instance, status=status, **options).run_id


@pytest.fixture
def ticks(in_process: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[SweepTicks]:
    """Chunks of 3 episodes; a remainder waits a day."""
    with DagsterInstance.ephemeral() as instance:
        yield SweepTicks(in_process, instance, monkeypatch)


def scan(ticks: SweepTicks, *languages: str) -> None:
    config = {"work_plan": {"config": {"languages": list(languages), "automatic": True}}}
    assert execute(ticks.instance, [WORK_PLAN], None, config).success


def test_a_full_chunk_is_requested_and_new_episodes_are_counted(
    ticks: SweepTicks, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ticks.skip_message() == "0 episodes listed, 0 in no chunk; 0 languages wait to fill one; ready: none"
    ticks.put("en/1", "en/2", "de/1")
    assert ticks.skip_message() == "3 episodes listed, 3 in no chunk; 2 languages wait to fill one; ready: none"
    ticks.put("en-US/3")
    assert ticks.requested()[0] == ["en"]
    scan(ticks, "en")
    assert ticks.skip_message().startswith("4 episodes listed, 1 in no chunk")
    monkeypatch.setattr(module, "SWEEP_EVERY_S", 900.0)
    ticks.put("fr/1", "fr/2", "fr/3")
    assert ticks.skip_message().startswith("next sweep in 15 min; the last one, 0 min ago: 4 episodes listed")


def test_episodes_that_were_removed_beforehand_request_no_scan(ticks: SweepTicks) -> None:
    ticks.put("en/1", "en/2", "en/3")
    ticks.plan.check_identity()
    ticks.plan.amend(REMOVE, [Target("en/3")], "takedown", datetime.now(UTC))
    assert ticks.skip_message().startswith("3 episodes listed, 2 in no chunk")


def test_a_remainder_waits_once_for_sensor_and_scan(ticks: SweepTicks) -> None:
    ticks.put("en/1", "en/2", "en/3", "en/4", "de/1")
    scan(ticks)  # records since when en/4 and de/1 wait
    since = ticks.plan.waiting_since("en")
    assert since is not None and ticks.skip_message().endswith("ready: none")
    assert ticks.plan.waiting_since("en") == since, "the sensor starts no second wait"
    ticks.plan.set_waiting("en", datetime.now(UTC) - timedelta(hours=25))
    assert ticks.requested()[0] == ["en"]
    scan(ticks, "en")
    assert ticks.plan.numbers() == {"en": [0, 1]}, "the scan starts no second wait"
    assert "1 in no chunk" in ticks.skip_message()
    ticks.put("fr/1")
    ticks.skip_message()
    since = ticks.plan.waiting_since("fr")
    scan(ticks)
    assert since is not None and ticks.plan.waiting_since("fr") == since, "the scan uses the sensor's wait"


def test_no_request_while_a_scan_is_queued_or_running(ticks: SweepTicks) -> None:
    ticks.put("en/1", "en/2", "en/3")
    for options in ({"job_name": "scan_job"}, {"job_name": "__ASSET_JOB", "asset_selection": frozenset({WORK_PLAN})}):
        for status in (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTED):
            run_id = ticks.run(status, **options)
            assert ticks.skip_message().startswith("1 scans are queued or running")
            ticks.instance.delete_run(run_id)
    assert ticks.requested()[0] == ["en"]


def test_the_same_episodes_are_requested_once_an_hour(ticks: SweepTicks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster starts a run key once, so a scan that fails is repeated this often."""
    hour = 1_000_000 * REPEAT_S
    clock = Mock(wraps=time)
    monkeypatch.setattr(module, "time", clock)
    clock.time = lambda: hour
    ticks.put("en/1", "en/2", "en/3")
    first = ticks.requested()
    assert first == (["en"], "en 3 beside 0 chunks, hour 1000000")
    clock.time = lambda: hour + REPEAT_S - 1
    ticks.cursor = None
    assert ticks.requested() == first, "a tick without a cursor requests the same run"
    clock.time = lambda: hour + REPEAT_S
    assert ticks.requested() == (["en"], "en 3 beside 0 chunks, hour 1000001")
    ticks.put("en/4")
    assert ticks.requested() == (["en"], "en 4 beside 0 chunks, hour 1000001"), "a further episode changes the run key"


def test_further_episodes_are_requested_at_once(ticks: SweepTicks) -> None:
    """Also when the count is the same and the planned ones were deleted."""
    keys = set()
    for start in (1, 4):
        ticks.put(*(f"en/{start + n}" for n in range(3)))
        keys.add(ticks.requested()[1])
        scan(ticks, "en")
        for n in range(3):
            obstore.delete(ticks.world.store(), f"processed/en/{start + n}/all_segments.json")
    assert len(keys) == 2 and ticks.plan.numbers() == {"en": [0, 1]}


def test_a_sweep_continues_where_the_last_tick_ended(ticks: SweepTicks, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks.put(*(f"en/{n}" for n in range(7)), "de/1", "de/2", "de/3")
    scan(ticks, "de")
    monkeypatch.setattr(listing, "list_pages", lambda *where, **more: list_pages(*where, **more, max_keys=2))
    monkeypatch.setattr(module, "LIST_S", 0.0)
    messages = [ticks.skip_message() for _ in range(4)]
    counts = ((2, 0, "de/ after 2/"), (3, 0, "de/ after its end"), (5, 2, "en/ after 1/"), (7, 4, "en/ after 3/"))
    assert messages == [
        f"{seen} episodes listed, {new} in no chunk so far; continues in {at}" for seen, new, at in counts
    ]
    assert len(ticks.cursor or "") < 2000
    monkeypatch.setattr(module, "LIST_S", 20.0)
    ticks.put("en/0a", "en/9")  # one after the position, one before it
    assert ticks.requested()[0] == ["en"]
    scan(ticks)
    assert ticks.skip_message().startswith("12 episodes listed, 0 in no chunk")


@pytest.mark.parametrize("size", [2, 3, 1000])
def test_ticks_of_one_page_count_each_episode_once(
    ticks: SweepTicks, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setenv("PLAN_MAX_WAIT_HOURS", "0")
    ticks.put("en/a", "en/b", "en/d", "en-US/a", "de/x")
    scan(ticks)
    ticks.put(*(f"en-US/{name}" for name in "bcd"), *(f"en/{name}" for name in "cef"), "deu/x", "zz/q", "fr/1")
    monkeypatch.setattr(listing, "list_pages", lambda *where, **more: list_pages(*where, **more, max_keys=size))
    # S3 lists en-US/ before en/, the test server after it.
    monkeypatch.setattr(module, "list_language_folders", lambda *where: list_language_folders(*where)[::-1])
    monkeypatch.setattr(module, "LIST_S", 0.0)
    result, count = ticks(), 1
    while not result.run_requests:
        result, count = ticks(), count + 1
        assert count < 30
    cursor = Cursor.model_validate_json(ticks.cursor or "")
    assert count > 6 and cursor.status.startswith("14 episodes listed, 9 in no chunk")
    assert cursor.status.endswith("ready: de 1, en 6, fr 1, unknown 1")


def test_a_plan_that_grows_during_a_sweep_restarts_it(ticks: SweepTicks, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks.put("de/1", "en/1", "en/2", "en/3")
    with monkeypatch.context() as patch:
        patch.setattr(module, "LIST_S", 0.0)
        assert ticks.skip_message().startswith("1 episodes listed, 1 in no chunk so far")
    scan(ticks)
    assert ticks.skip_message() == "the plan went from 0 to 1 chunks meanwhile; sweeping again"
    assert ticks.skip_message().startswith("4 episodes listed, 1 in no chunk")


def test_episodes_that_a_scan_would_not_plan_are_not_counted(
    ticks: SweepTicks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGUAGES", "de")
    monkeypatch.setenv("PLAN_MAX_WAIT_HOURS", "0")
    ticks.put("en/1", "en/2", "en/3", "de/1")
    s3 = ticks.world.sandbox.s3.client()  # obstore can't write such keys
    for name in ("a\x07", "b\x7f", "c\n"):
        s3.put_object(Bucket=ticks.world.bucket, Key=f"processed/de/{name}/all_segments.json", Body=b"[]")
        s3.put_object(Bucket=ticks.world.bucket, Key=f"processed/{name}/1/all_segments.json", Body=b"[]")
    assert ticks.requested()[0] == ["de"]
    scan(ticks)
    assert ticks.skip_message().startswith("1 episodes listed, 0 in no chunk")


def test_a_folder_counts_for_its_recorded_language(ticks: SweepTicks, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks.put("junk/1", "junk/2", "junk/3")
    scan(ticks)
    monkeypatch.setattr(listing, "normalize", lambda name: "yue")
    assert ticks.skip_message().startswith("3 episodes listed, 0 in no chunk")
    ticks.put("junk/4", "junk/5", "junk/6")
    assert ticks.requested()[0] == ["unknown"]


def test_a_transient_error_skips_the_tick_and_keeps_the_cursor(
    ticks: SweepTicks, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks.cursor = before = SWEEPING.model_dump_json()
    for error in (
        RetriesExhausted("listing processed/: server error (HTTP 503), still failing after 3 attempts"),
        AccessError("refused"),
    ):
        monkeypatch.setattr(module, "list_language_folders", Mock(side_effect=error))
        if error.transient:
            assert "HTTP 503" in ticks.skip_message() and ticks.cursor == before
        else:
            with pytest.raises(AccessError):
                ticks()


def test_a_clock_set_back_does_not_delay_the_sweep(ticks: SweepTicks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SWEEP_EVERY_S", 900.0)
    ticks.cursor = Cursor(ended=time.time() + 1e6).model_dump_json()
    assert ticks.skip_message().startswith("0 episodes listed")
    assert "next sweep in 15 min" in ticks.skip_message()
