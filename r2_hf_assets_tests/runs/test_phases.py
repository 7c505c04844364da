"""Every phase of a run moves something, so that the heartbeat of one that works goes on."""

import sys

import pytest
from dagster import DagsterInstance

from r2_hf_assets import activity
from r2_hf_assets.runs.reconcile import examine
from r2_hf_assets.settings import load
from r2_hf_assets_tests.support.world import World

# Who says that something moved, and in which phase.
MOVING = {
    "r2_hf_assets.bucket.transfers": "bytes of listings, metadata and audio",
    "r2_hf_assets.retry": "requests to the plan's store, and all tries",
    "r2_hf_assets.shards.writer": "row groups",
    "r2_hf_assets.hub.timeouts": "requests to the Hub",
    "r2_hf_assets.hub.upload_xet": "bytes that hf_xet sends",
}


def test_every_phase_moves_something(in_process: World, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: set[str] = set()
    real = activity.ProgressClock.advance

    def noting(mark: activity.ProgressClock, wait: float = 0.0) -> None:
        moved.add(sys._getframe(2).f_globals["__name__"])  # who called `activity.advance`
        real(mark, wait)

    monkeypatch.setattr(activity.ProgressClock, "advance", noting)

    def in_phase() -> set[str]:
        now = set(moved)
        moved.clear()
        return now & set(MOVING)

    in_process.upload(episodes={"en": 2}, expect=False)
    in_process.scan()
    assert in_phase() >= {"r2_hf_assets.bucket.transfers", "r2_hf_assets.retry"}
    in_process.build_due()
    assert in_process.due() == []
    assert in_phase() == set(MOVING)
    with DagsterInstance.get() as instance:
        examine(instance, load())
    assert "r2_hf_assets.hub.timeouts" in in_phase()
