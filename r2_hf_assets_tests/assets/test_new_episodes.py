"""new_episodes on a real bucket and plan: when it asks for a scan, and when it only says why not."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import obstore
import pytest
from dagster import DagsterInstance, DagsterRunStatus, SensorResult, SkipReason, build_sensor_context
from dagster._core.storage.tags import SENSOR_NAME_TAG
from dagster._core.test_utils import create_run_for_test

from r2_hf_assets.asset_keys import WORK_PLAN
from r2_hf_assets.assets import new_episodes as module
from r2_hf_assets.assets.launch import execute
from r2_hf_assets.assets.new_episodes import FAILED_AGAIN_S, REFUSED_AGAIN_S, Cursor, Requested, decide, new_episodes
from r2_hf_assets.assets.resources import SettingsResource
from r2_hf_assets.bucket import listing
from r2_hf_assets.bucket.listing import language_folders
from r2_hf_assets.bucket.pages import pages
from r2_hf_assets.definitions import defs
from r2_hf_assets.errors import AccessError, GaveUp
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.settings import load_for_scan
from r2_hf_assets_tests.build_samples import put_folders
from r2_hf_assets_tests.world import World

NOW = 1_000_000.0
READY = {"en": 3, "de": 12}


def last(status: DagsterRunStatus, find: str = "x") -> Requested:
    return Requested("12345678-9", find, status, NOW)


def test_decide_requests_what_is_ready_and_nothing_else() -> None:
    assert decide(READY, "x", None, NOW) == (True, "ready: de 12, en 3")
    assert decide({}, "x", None, NOW) == (False, "0 ready")


@pytest.mark.parametrize("status", [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED])
@pytest.mark.parametrize("find", ["x", "other"])
def test_decide_waits_after_a_scan_that_failed(status: DagsterRunStatus, find: str) -> None:
    yes, why = decide(READY, "x", last(status, find), NOW + 600)
    assert not yes and why.endswith(f"the last scan (12345678) ended as {status.value}, again in 50 min")
    assert decide(READY, "x", last(status, find), NOW + FAILED_AGAIN_S)[0]


def test_decide_requests_a_find_that_a_scan_left_unplanned_once_a_day() -> None:
    yes, why = decide(READY, "x", last(DagsterRunStatus.SUCCESS), NOW + FAILED_AGAIN_S)
    assert not yes and why.endswith("the last scan (12345678) planned none of it, again in 1380 min")
    assert decide(READY, "x", last(DagsterRunStatus.SUCCESS), NOW + REFUSED_AGAIN_S)[0]
    assert decide(READY, "x", last(DagsterRunStatus.SUCCESS, "other"), NOW)[0], "another find is not held up"


@pytest.mark.parametrize("status", [DagsterRunStatus.FAILURE, DagsterRunStatus.SUCCESS])
def test_decide_does_not_wait_for_a_clock_that_was_set_back(status: DagsterRunStatus) -> None:
    assert decide(READY, "x", last(status), NOW - 1000)[0]


SWEEPING = Cursor(folder="en", after="ep/", chunks=2, seen=5, new={"en": 1})


@pytest.mark.parametrize("cursor", [Cursor(), SWEEPING, Cursor(folder="en", after=None), Cursor(ended=5.0, said="é")])
def test_the_cursor_survives(cursor: Cursor) -> None:
    assert Cursor.read(cursor.model_dump_json()) == cursor


# The last one is of release 0.1.
@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "7", '{"seen": "x"}', '{"new": 3}', '{"sweep": {"folder": "en"}, "waited": []}']
)
def test_a_cursor_that_can_not_be_read_begins_a_sweep(text: str | None) -> None:
    assert Cursor.read(text) == Cursor()


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
    assert ticks.said() == "0 episodes seen, 0 in no chunk; 0 languages wait to fill one; 0 ready"
    ticks.put("en/1", "en/2", "de/1")
    assert ticks.said() == "3 episodes seen, 3 in no chunk; 2 languages wait to fill one; 0 ready"
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
    assert noted is not None and ticks.said().endswith("0 ready")
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


def test_run_keys_repeat_until_a_run_exists_and_never_after(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks.put("en/1", "en/2", "en/3")
    first = ticks.asked()
    ticks.cursor = "damaged"
    (request,) = ticks().run_requests or ()
    assert request.run_key == first[1] == "after none", "a tick that does not know of the other asks for the same run"
    tags = {SENSOR_NAME_TAG: "new_episodes", **request.tags}
    failed = ticks.run(DagsterRunStatus.FAILURE, tags=tags)
    assert f"({failed[:8]}) ended as FAILURE" in ticks.said()
    monkeypatch.setattr(module, "FAILED_AGAIN_S", 0.0)
    assert ticks.asked() == (["en"], f"after {failed}"), "what failed is requested again, by another key"
    refused = ticks.run(DagsterRunStatus.SUCCESS, tags=tags)
    assert f"({refused[:8]}) planned none of it" in ticks.said(), "not for ever"
    ticks.put("en/4")
    assert ticks.asked() == (["en"], f"after {refused}")


def test_the_next_find_is_requested_at_once(ticks: Ticks) -> None:
    """Also when as many are new, and what was planned is gone from the bucket."""
    for start in (1, 4):
        ticks.put(*(f"en/{start + n}" for n in range(3)))
        (request,) = ticks().run_requests or ()
        scan(ticks, "en")
        ticks.run(DagsterRunStatus.SUCCESS, tags={SENSOR_NAME_TAG: "new_episodes", **request.tags})
        for n in range(3):
            obstore.delete(ticks.world.store(), f"processed/en/{start + n}/all_segments.json")
    assert ticks.plan.numbers() == {"en": [0, 1]}


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
    cursor = Cursor.read(ticks.cursor)
    assert count > 6 and cursor.said.startswith("14 episodes seen, 9 in no chunk")
    assert cursor.said.endswith("ready: de 1, en 6, fr 1, unknown 1")


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
        GaveUp("listing processed/: server error (HTTP 503), still so after 3 tries"),
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
