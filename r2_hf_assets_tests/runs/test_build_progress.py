"""Progress of a build: the log lines are few, and events do not grow with the bytes."""

import pytest
from dagster import DagsterInstance

from r2_hf_assets.asset_keys import SHARDS
from r2_hf_assets.cli.in_process import execute
from r2_hf_assets.partitions import partition_key
from r2_hf_assets.runs.build_progress import BuildProgress
from r2_hf_assets.shards.record import Tally
from r2_hf_assets_tests.support.world import World, materializations


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def lines_of(episodes: int, seconds: float, groups: int) -> list[str]:
    """Return the lines of a build at an even pace."""
    clock, written = Clock(), list[str]()
    build = BuildProgress("en|chunk_0000", written.append, clock)
    for group in range(1, groups + 1):
        clock.now = seconds * group / groups
        read = episodes * group // groups
        build.report(Tally(episodes=episodes, episodes_with_rows=read, rows=10 * group, audio_bytes=10**6 * group))
    return written


def test_a_line_has_counts_and_speed() -> None:
    (first, *_) = lines_of(episodes=100, seconds=100.0, groups=100)
    assert first == "en|chunk_0000: 15 of 100 episodes, 150 rows, 15 MB, 1 MB/s"


@pytest.mark.parametrize(
    ("seconds", "most"),
    [
        (10.0, 0),  # ends before 15 s
        (60.0, 4),  # every 15 s
        (300.0, 20),  # every 15 s, which is 5 %
        (3600.0, 20),  # every 5 %
        (86400.0, 20),
    ],
)
def test_a_line_is_logged_every_15_s_or_5_percent_whichever_is_later(seconds: float, most: int) -> None:
    assert most - 1 <= len(lines_of(episodes=1000, seconds=seconds, groups=10_000)) <= most


def test_a_build_that_starts_over_is_still_logged() -> None:
    """A broken transfer resets the tally."""
    clock, written = Clock(), list[str]()
    build = BuildProgress("k", written.append, clock)
    for read in (6, 12, 1, 7, 13, 18):
        clock.now += 20.0
        build.report(Tally(episodes=100, episodes_with_rows=read))
    assert [line.split()[1] for line in written] == ["6", "12", "7", "13"]


def test_a_run_of_many_row_groups_writes_few_events(in_process: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as a run of a single row group."""
    world = in_process
    world.upload(episodes={"en": 3}, awkward=False, expect=False, segments=(30, 30), seconds=(0.3, 0.4))
    assert world.scan() is None
    events = []
    with DagsterInstance.get() as instance:
        for size in ("1000000", "4000"):
            monkeypatch.setenv("PARQUET_ROWGROUP_BYTES", size)
            result = execute(instance, [SHARDS], partition_key("en", 0))
            assert result.success
            events.append(len(instance.all_logs(result.run_id)))
            (world.folder / "dagster_home" / "r2_hf_assets" / "state" / "builds" / "en" / "chunk-00000.json").unlink()
    assert len(materializations(world, "parquet_shards")) == 2
    assert events[0] == events[1] < 60
