"""The pace of commits: told where it can be told honestly, and nowhere else."""

import pytest

from r2_hf_assets.assets.pace import Pace, pace

MINUTE = 60.0
NOW = 1_000_000.0


def ago(*minutes: float, episodes: int = 10) -> list[tuple[float, int]]:
    return [(NOW - minute * MINUTE, episodes) for minute in minutes]


def test_a_steady_stretch() -> None:
    # 20 episodes in the 30 minutes since the first of three commits
    assert pace(ago(30, 20, 10), 100, NOW) == Pace(40.0, 2.5, 3, 0.5)


def test_a_stretch_begins_after_a_pause() -> None:
    last_night = ago(*range(600, 700))
    assert pace(last_night + ago(30, 20, 10), 100, NOW) == pace(ago(30, 20, 10), 100, NOW)


@pytest.mark.parametrize(
    "commits",
    [
        [],
        ago(10, 5),
        ago(*range(180, 240, 10)),  # hours ago: nothing goes on now
        ago(10, 10, 10),  # all at once
        ago(300, 20, 10),
    ],
)
def test_too_little_to_tell(commits: list[tuple[float, int]]) -> None:
    assert pace(commits, 100, NOW) is None


def test_nothing_left_takes_no_time() -> None:
    found = pace(ago(30, 20, 10), 0, NOW)
    assert found is not None and found.hours_left == 0
