"""new_episodes on a real bucket and plan: when it asks for a scan, and when it only says why not."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import obstore
import pytest
from dagster import DagsterInstance, DagsterRunStatus, SensorResult, SkipReason, build_sensor_context
from dagster._core.test_utils import create_run_for_test

from r2_hf_assets.asset_keys import WORK_PLAN
from r2_hf_assets.bucket import listing
from r2_hf_assets.bucket.listing import language_folders
from r2_hf_assets.bucket.pages import pages
from r2_hf_assets.cli.in_process import execute
from r2_hf_assets.definitions import defs
from r2_hf_assets.errors import AccessError, RetriesExhausted
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.resources import SettingsResource
from r2_hf_assets.sensors import new_episodes as module
from r2_hf_assets.sensors.new_episodes import AGAIN_S, Cursor, new_episodes
from r2_hf_assets.settings import load_for_scan
from r2_hf_assets_tests.support.build_samples import put_folders
from r2_hf_assets_tests.support.world import World

SWEEPING = Cursor(folder="en", after="ep/", chunks=2, seen=5, new={"en": 1})


def test_a_cursor_of_release_0_1_begins_a_sweep() -> None:
    assert Cursor.model_validate_json('{"sweep": {"folder": "en"}, "waited": []}') == Cursor()


class Ticks:
    """The sensor as the daemon evaluates it, tick after tick, with sweeps right after each other."""

    def __init__(self, world: World, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "SWEEP_EVERY_S", 0.0)
        self.world, self.instance = world, instance
        self.cursor: str | None = None

    def __call__(self) -> SensorResult:
        resources = {"settings": SettingsResource()}
        context = build_sensor_context(
            self.instance, self.cursor, definitions=defs, sensor_name="new_episodes", resources=resources
        )
        result = new_episodes(context)
        assert isinstance(result, SensorResult)
        self.cursor = result.cursor
        return result

    def said(self) -> str:
        """What it says when it asks for nothing."""
        reason = self().skip_reason
        assert isinstance(reason, SkipReason)
        return reason.skip_message or ""

    def asked(self) -> tuple[list[str], str | None]:
        """The languages it asks a scan of, and the run key."""
        (request,) = self().run_requests or ()
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
def ticks(in_process: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ticks]:
    """Chunks of 3 episodes, and a remainder waits a day."""
    with DagsterInstance.ephemeral() as instance:
        yield Ticks(in_process, instance, monkeypatch)


def scan(ticks: Ticks, *languages: str) -> None:
    config = {"work_plan": {"config": {"languages": list(languages), "automatic": True}}}
    assert execute(ticks.instance, [WORK_PLAN], None, config).success


def test_it_requests_a_full_chunk_and_counts_what_is_new(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ticks.said() == "0 episodes seen, 0 in no chunk; 0 languages wait to fill one; ready: none"
    ticks.put("en/1", "en/2", "de/1")
    assert ticks.said() == "3 episodes seen, 3 in no chunk; 2 languages wait to fill one; ready: none"
    ticks.put("en-US/3")
    assert ticks.asked()[0] == ["en"]
    scan(ticks, "en")
    assert ticks.said().startswith("4 episodes seen, 1 in no chunk")
    monkeypatch.setattr(module, "SWEEP_EVERY_S", 900.0)
    ticks.put("fr/1", "fr/2", "fr/3")
    assert ticks.said().startswith("4 episodes seen") and "next look in 15 min" in ticks.said()


def test_a_remainder_waits_once_whoever_noted_it(ticks: Ticks) -> None:
    ticks.put("en/1", "en/2", "en/3", "en/4", "de/1")
    scan(ticks)  # it notes since when en/4 and de/1 wait
    noted = ticks.plan.waiting_since("en")
    assert noted is not None and ticks.said().endswith("ready: none")
    assert ticks.plan.waiting_since("en") == noted, "the sensor begins no wait of its own"
    ticks.plan.set_waiting("en", datetime.now(UTC) - timedelta(hours=25))
    assert ticks.asked()[0] == ["en"]
    scan(ticks, "en")
    assert ticks.plan.numbers() == {"en": [0, 1]}, "and the scan waits no second time"
    assert "1 in no chunk" in ticks.said()
    ticks.put("fr/1")
    ticks.said()
    noted = ticks.plan.waiting_since("fr")
    scan(ticks)
    assert noted is not None and ticks.plan.waiting_since("fr") == noted, "the wait that the sensor noted is the scan's"


def test_no_request_while_a_scan_is_queued_or_running(ticks: Ticks) -> None:
    ticks.put("en/1", "en/2", "en/3")
    for options in ({"job_name": "scan_job"}, {"job_name": "__ASSET_JOB", "asset_selection": frozenset({WORK_PLAN})}):
        for status in (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTED):
            run_id = ticks.run(status, **options)
            assert ticks.said().startswith("1 scans are queued or running")
            ticks.instance.delete_run(run_id)
    assert ticks.asked()[0] == ["en"]


def test_a_find_is_requested_by_one_run_key_an_hour(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster starts a run key once, so this is how often a scan that fails or plans none of it is repeated."""
    hour = 1_000_000 * AGAIN_S
    clock = Mock(wraps=time)
    monkeypatch.setattr(module, "time", clock)
    clock.time = lambda: hour
    ticks.put("en/1", "en/2", "en/3")
    first = ticks.asked()
    assert first == (["en"], "en 3 beside 0 chunks, hour 1000000")
    clock.time = lambda: hour + AGAIN_S - 1
    ticks.cursor = None
    assert ticks.asked() == first, "a tick that does not know of the other requests the same run"
    clock.time = lambda: hour + AGAIN_S
    assert ticks.asked() == (["en"], "en 3 beside 0 chunks, hour 1000001")
    ticks.put("en/4")
    assert ticks.asked() == (["en"], "en 4 beside 0 chunks, hour 1000001"), "another find is not held up"


def test_the_next_find_is_requested_at_once(ticks: Ticks) -> None:
    """Also when as many are new, and what was planned is gone from the bucket."""
    keys = set()
    for start in (1, 4):
        ticks.put(*(f"en/{start + n}" for n in range(3)))
        keys.add(ticks.asked()[1])
        scan(ticks, "en")
        for n in range(3):
            obstore.delete(ticks.world.store(), f"processed/en/{start + n}/all_segments.json")
    assert len(keys) == 2 and ticks.plan.numbers() == {"en": [0, 1]}


def test_a_sweep_goes_on_where_the_last_tick_ended(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks.put(*(f"en/{n}" for n in range(7)), "de/1", "de/2", "de/3")
    scan(ticks, "de")
    monkeypatch.setattr(listing, "pages", lambda *where, **more: pages(*where, **more, most=2))
    monkeypatch.setattr(module, "LIST_S", 0.0)
    said = [ticks.said() for _ in range(4)]
    counts = ((2, 0, "de/ behind 2/"), (3, 0, "de/ behind its end"), (5, 2, "en/ behind 1/"), (7, 4, "en/ behind 3/"))
    assert said == [f"{seen} episodes seen, {new} in no chunk so far; goes on in {at}" for seen, new, at in counts]
    assert len(ticks.cursor or "") < 2000
    monkeypatch.setattr(module, "LIST_S", 20.0)
    ticks.put("en/0a", "en/9")  # one behind it, one before it
    assert ticks.asked()[0] == ["en"]
    scan(ticks)
    assert ticks.said().startswith("12 episodes seen, 0 in no chunk")


@pytest.mark.parametrize("size", [2, 3, 1000])
def test_ticks_of_one_page_find_everything_once(ticks: Ticks, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setenv("PLAN_MAX_WAIT_HOURS", "0")
    ticks.put("en/a", "en/b", "en/d", "en-US/a", "de/x")
    scan(ticks)
    ticks.put(*(f"en-US/{name}" for name in "bcd"), *(f"en/{name}" for name in "cef"), "deu/x", "zz/q", "fr/1")
    monkeypatch.setattr(listing, "pages", lambda *where, **more: pages(*where, **more, most=size))
    # S3 lists en-US/ before en/, the server here after it.
    monkeypatch.setattr(module, "language_folders", lambda *where: language_folders(*where)[::-1])
    monkeypatch.setattr(module, "LIST_S", 0.0)
    result, count = ticks(), 1
    while not result.run_requests:
        result, count = ticks(), count + 1
        assert count < 30
    cursor = Cursor.model_validate_json(ticks.cursor or "")
    assert count > 6 and cursor.status.startswith("14 episodes seen, 9 in no chunk")
    assert cursor.status.endswith("ready: de 1, en 6, fr 1, unknown 1")


def test_a_plan_that_grows_meanwhile_is_looked_at_again(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks.put("de/1", "en/1", "en/2", "en/3")
    with monkeypatch.context() as patch:
        patch.setattr(module, "LIST_S", 0.0)
        assert ticks.said().startswith("1 episodes seen, 1 in no chunk so far")
    scan(ticks)
    assert ticks.said() == "the plan went from 0 to 1 chunks meanwhile; looking again"
    assert ticks.said().startswith("4 episodes seen, 1 in no chunk")


def test_what_a_scan_would_not_plan_is_not_found(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGES", "de")
    monkeypatch.setenv("PLAN_MAX_WAIT_HOURS", "0")
    ticks.put("en/1", "en/2", "en/3", "de/1")
    s3 = ticks.world.sandbox.s3.client()  # obstore can't write such keys
    for name in ("a\x07", "b\x7f", "c\n"):
        s3.put_object(Bucket=ticks.world.bucket, Key=f"processed/de/{name}/all_segments.json", Body=b"[]")
        s3.put_object(Bucket=ticks.world.bucket, Key=f"processed/{name}/1/all_segments.json", Body=b"[]")
    assert ticks.asked()[0] == ["de"]
    scan(ticks)
    assert ticks.said().startswith("1 episodes seen, 0 in no chunk")


def test_a_folder_counts_for_the_language_that_was_decided(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks.put("junk/1", "junk/2", "junk/3")
    scan(ticks)
    monkeypatch.setattr(listing, "normalize", lambda name: "yue")
    assert ticks.said().startswith("3 episodes seen, 0 in no chunk")
    ticks.put("junk/4", "junk/5", "junk/6")
    assert ticks.asked()[0] == ["unknown"]


def test_a_transient_error_is_a_reason_to_skip_and_keeps_the_place(
    ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks.cursor = before = SWEEPING.model_dump_json()
    for error in (
        RetriesExhausted("listing processed/: server error (HTTP 503), still failing after 3 attempts"),
        AccessError("refused"),
    ):
        monkeypatch.setattr(module, "language_folders", Mock(side_effect=error))
        if error.transient:
            assert "HTTP 503" in ticks.said() and ticks.cursor == before
        else:
            with pytest.raises(AccessError):
                ticks()


def test_a_clock_set_back_does_not_stop_it(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SWEEP_EVERY_S", 900.0)
    ticks.cursor = Cursor(ended=time.time() + 1e6).model_dump_json()
    assert ticks.said().startswith("0 episodes seen")
    assert "next look in 15 min" in ticks.said()
