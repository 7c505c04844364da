"""Each phase of a run records progress, so its heartbeat is sent."""

import sys

import pytest
from dagster import DagsterInstance

from r2_hf_assets import activity
from r2_hf_assets.runs.reconcile import examine
from r2_hf_assets.settings import load
from r2_hf_assets_tests.support.world import World

# Modules that record progress, and the phase.
ADVANCING = {
    "r2_hf_assets.bucket.transfers": "bytes of listings, metadata and audio",
    "r2_hf_assets.retry": "requests to the plan's store, and all tries",
    "r2_hf_assets.shards.writer": "row groups",
    "r2_hf_assets.hub.timeouts": "requests to the Hub",
    "r2_hf_assets.hub.upload_xet": "bytes that hf_xet sends",
}


def test_every_phase_records_progress(in_process: World, monkeypatch: pytest.MonkeyPatch) -> None:
    callers: set[str] = set()
    real = activity.ProgressClock.advance

    def record_caller(mark: activity.ProgressClock, wait: float = 0.0) -> None:
        callers.add(sys._getframe(2).f_globals["__name__"])  # the caller of `activity.advance`
        real(mark, wait)

    monkeypatch.setattr(activity.ProgressClock, "advance", record_caller)

    def in_phase() -> set[str]:
        now = set(callers)
        callers.clear()
        return now & set(ADVANCING)

    in_process.upload(episodes={"en": 2}, expect=False)
    in_process.scan()
    assert in_phase() >= {"r2_hf_assets.bucket.transfers", "r2_hf_assets.retry"}
    in_process.build_due()
    assert in_process.due() == []
    assert in_phase() == set(ADVANCING)
    with DagsterInstance.get() as instance:
        examine(instance, load())
    assert "r2_hf_assets.hub.timeouts" in in_phase()
