"""What advances the process's progress clock."""

import io

import pytest

from r2_hf_assets import activity
from r2_hf_assets.activity import ProgressClock, ProgressFile


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> ProgressClock:
    """The process's clock, idle for long."""
    clock = idle_clock()
    monkeypatch.setattr(activity, "PROCESS", clock)
    return clock


def idle_clock() -> ProgressClock:
    clock = ProgressClock()
    clock.at -= 1000.0
    return clock


def test_progress_resets_the_idle_time(process: ProgressClock) -> None:
    assert process.idle() > 900
    activity.advance()
    assert process.idle() < 100


def test_a_requested_wait_counts_as_progress_until_it_is_over(process: ProgressClock) -> None:
    activity.advance(500.0)
    activity.advance()
    assert -500 <= process.idle() < -400


def test_each_block_read_from_a_file_is_progress(process: ProgressClock) -> None:
    file = ProgressFile(io.BytesIO(b"abcdef"))
    assert (file.read(4), file.tell(), process.idle() < 100) == (b"abcd", 4, True)
    process.at -= 1000.0
    assert file.read() == b"ef" and process.idle() < 100
