"""Progress: what advances the process's mark."""

import io

import pytest

from r2_hf_assets import activity
from r2_hf_assets.activity import ProgressClock, ProgressFile


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> ProgressClock:
    """The process's mark, long idle."""
    mark = old()
    monkeypatch.setattr(activity, "PROCESS", mark)
    return mark


def old() -> ProgressClock:
    mark = ProgressClock()
    mark.at -= 1000.0
    return mark


def test_progress_ends_idleness(process: ProgressClock) -> None:
    assert process.idle() > 900
    activity.advance()
    assert process.idle() < 100


def test_a_wait_counts_until_it_is_over_and_is_not_cut_short(process: ProgressClock) -> None:
    activity.advance(500.0)
    activity.advance()
    assert -500 <= process.idle() < -400


def test_a_file_that_is_sent_advances_with_every_block(process: ProgressClock) -> None:
    file = ProgressFile(io.BytesIO(b"abcdef"))
    assert (file.read(4), file.tell(), process.idle() < 100) == (b"abcd", 4, True)
    process.at -= 1000.0
    assert file.read() == b"ef" and process.idle() < 100
