"""new_episodes on a real bucket and plan: when it asks for a scan, and when it only says why not."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRunStatus, SensorResult, SkipReason, build_sensor_context
from dagster._core.storage.tags import SENSOR_NAME_TAG
from dagster._core.test_utils import create_run_for_test

from r2_hf_assets.assets import new_episodes as module
from r2_hf_assets.assets.launch import WORK_PLAN, execute
from r2_hf_assets.assets.new_episodes import AGAIN_CAP_S, AGAIN_S, Ask, Cursor, decide, new_episodes
from r2_hf_assets.assets.resources import SettingsResource
from r2_hf_assets.bucket import listing
from r2_hf_assets.bucket.pages import pages
from r2_hf_assets.definitions import defs
from r2_hf_assets.plan.news import Outlook, Sweep
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.settings import load
from r2_hf_assets_tests.build_samples import put_folders
from r2_hf_assets_tests.world import World

NOW = 1_000_000.0
READY = Outlook({"de": 12, "en": 3}, {}, (), ())


def asks(*of: str, status: str = "FAILURE", ended: float = NOW) -> list[Ask]:
    return [Ask("12345678-9", name, status, ended) for name in of]


def test_decide_asks_when_something_is_ready() -> None:
    assert decide(READY, "x", [], NOW) == (True, "ready: de 12, en 3")
    assert decide(READY, "x", asks("other", "x"), NOW)[0], "the plan has grown since"
    assert decide(Outlook({}, {"en": datetime.now(UTC)}, (), ()), "x", [], NOW) == (False, "nothing to plan yet")


@pytest.mark.parametrize(
    ("in_vain", "wait"), [(1, AGAIN_S), (2, 2 * AGAIN_S), (3, 4 * AGAIN_S), (11, AGAIN_CAP_S), (12, AGAIN_CAP_S)]
)
def test_decide_asks_again_with_growing_patience_and_for_ever(in_vain: int, wait: float) -> None:
    yes, why = decide(READY, "x", asks(*"x" * in_vain), NOW + wait - 1)
    assert not yes and f"{in_vain} scans planned none of it, the last ended as FAILURE (run 12345678)" in why
    assert decide(READY, "x", asks(*"x" * in_vain), NOW + wait)[0]


@pytest.mark.parametrize(
    "cursor", [Cursor(), Cursor(Sweep({"en": 2}, "en", "ep/", {"en": 5}, {"en": 1}), 5.0, ("de",))]
)
def test_the_cursor_survives(cursor: Cursor) -> None:
    assert Cursor.read(cursor.write()) == cursor


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "7", '{"sweep": {"other": 1}}', '{"ended": "x"}', '{"waited": 3}']
)
def test_a_cursor_that_is_none_begins_anew(text: str | None) -> None:
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
        settings = load(needs=["r2"])
        assert settings.r2 is not None
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


def test_it_asks_when_a_chunk_is_full_and_counts_what_is_new(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ticks.said() == "0 episodes seen, 0 not planned; none waits; nothing to plan yet"
    ticks.put("en/1", "en/2", "de/1")
    said = ticks.said()
    assert said.startswith("3 episodes seen, 3 not planned; remainders of 2 languages wait to fill, de for 24.0 h more")
    ticks.put("en-US/3")
    assert ticks.asked()[0] == ["en"]
    scan(ticks, "en")
    assert "4 episodes seen, 1 not planned; remainders of 1 languages" in ticks.said()
    monkeypatch.setattr(module, "SWEEP_EVERY_S", 900.0)
    ticks.put("fr/1", "fr/2", "fr/3")
    assert "1 not planned" in ticks.said() and "next look in 15 min" in ticks.said()


def test_a_remainder_waits_once_whoever_began_to_count(ticks: Ticks) -> None:
    ticks.put("en/1", "en/2", "en/3", "en/4", "de/1")
    scan(ticks)  # it notes since when en/4 and de/1 wait
    noted = ticks.plan.waiting_since("en")
    assert noted is not None and "nothing to plan yet" in ticks.said()
    assert ticks.plan.waiting_since("en") == noted, "the sensor begins no wait of its own"
    ticks.plan.set_waiting("en", datetime.now(UTC) - timedelta(hours=25))
    assert ticks.asked()[0] == ["en"]
    scan(ticks, "en")
    assert ticks.plan.numbers() == {"en": [0, 1]}, "and the scan waits no second time"
    assert "1 not planned" in ticks.said()


def test_the_wait_that_the_sensor_noted_is_the_scans(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks.put("en/1")
    ticks.said()
    noted = ticks.plan.waiting_since("en")
    scan(ticks)
    assert noted is not None and ticks.plan.waiting_since("en") == noted
    monkeypatch.setattr(module, "language_folders", lambda *_: [])  # the folder vanished with its only episode
    assert "0 not planned; none waits" in ticks.said()
    assert ticks.plan.waiting_since("en") is None, "a later episode must not inherit the wait of one that vanished"


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
    assert ticks.asked() == first, "a tick that does not know of the other asks for the same run"
    request = None
    monkeypatch.setattr(module, "AGAIN_S", 0.0)
    before, ticks.cursor = ticks.cursor, None
    (request,) = ticks().run_requests or ()
    run_id = ticks.run(DagsterRunStatus.FAILURE, tags={SENSOR_NAME_TAG: "new_episodes", **request.tags})
    ticks.cursor = before
    assert ticks.asked() == (["en"], f"after {run_id}"), "what failed is asked for again, by another key"
    monkeypatch.setattr(module, "AGAIN_S", 3600.0)
    assert "1 scans planned none of it, the last ended as FAILURE" in ticks.said()


def test_a_sweep_takes_as_many_ticks_as_it_needs(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks.put(*(f"en/{n}" for n in range(7)), "de/1", "de/2", "de/3")
    scan(ticks, "de")

    monkeypatch.setattr(listing, "pages", lambda *where, **more: pages(*where, **more, most=2))
    monkeypatch.setattr(module, "TICK_S", 0.0)
    said = [ticks.said() for _ in range(4)]
    counts = ((2, 0, "de/2/"), (3, 0, "de/"), (5, 2, "en/1/"), (7, 4, "en/3/"))
    assert said == [f"{seen} episodes seen, {new} not planned so far; goes on behind {at}" for seen, new, at in counts]
    monkeypatch.setattr(module, "_known", {})  # the code server is started anew
    monkeypatch.setattr(module, "TICK_S", 20.0)
    assert ticks.asked()[0] == ["en"]
    assert len(json.dumps(ticks.cursor)) < 2000


def test_a_plan_that_grows_meanwhile_is_looked_at_again(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks.put("en/1", "en/2", "en/3")
    real = module._go_on

    def and_then_someone_scans(*arguments: Any) -> Any:
        found = real(*arguments)
        scan(ticks)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(module, "_go_on", and_then_someone_scans)
        assert ticks.said().endswith("the plan grew meanwhile, so looking again")
    assert "3 episodes seen, 0 not planned" in ticks.said()


def test_a_tick_that_outlives_its_time_is_not_joined_by_the_next(ticks: Ticks) -> None:
    assert module._one_tick.acquire(blocking=False)
    try:
        assert ticks.said() == "the tick before this one still runs"
    finally:
        module._one_tick.release()


def test_languages_narrow_what_is_looked_at(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGES", "de")
    ticks.put("en/1", "en/2", "en/3", "de/1")
    assert ticks.said().startswith("1 episodes seen, 1 not planned")


def test_a_folder_counts_for_the_language_that_was_decided(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks.put("junk/1", "junk/2", "junk/3")
    scan(ticks)
    monkeypatch.setattr(listing, "normalize", lambda name: "yue")
    assert ticks.said().startswith("3 episodes seen, 0 not planned")
    ticks.put("junk/4", "junk/5", "junk/6")
    assert ticks.asked()[0] == ["unknown"]


def test_a_clock_set_back_does_not_stop_it(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SWEEP_EVERY_S", 900.0)
    ticks.cursor = Cursor(ended=time.time() + 1e6).write()
    assert ticks.said().startswith("0 episodes seen")
    assert "next look in 15 min" in ticks.said()
