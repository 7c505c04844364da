"""`r2-hf process` with several chunks in a commit: killed between the commit and its records, and two at once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from r2_hf_assets_tests.kills.points import Shot, arm, fired
from r2_hf_assets_tests.world import World, materializations

KEYS = ["en|chunk_0000", "en|chunk_0001", "en|chunk_0002"]
PATIENCE_S = 150.0
# Imports take seconds and differ, so it waits, everything imported, for a line.
PROCESS = """
import sys
from pathlib import Path
import r2_hf_assets.definitions
from r2_hf_assets.cli.commands import main
from r2_hf_assets_tests.kills import points
points.install(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
sys.exit(main(["process"]))
"""


@pytest.fixture
def planned(in_process: World, monkeypatch: pytest.MonkeyPatch) -> World:
    world = in_process
    for name, value in {"EPISODES_PER_CHUNK": "1", "CHUNKS_PER_COMMIT": "3"}.items():
        monkeypatch.setenv(name, value)
        world.env[name] = value
    world.upload(episodes={"en": 3}, awkward=False, expect=False, segments=(2, 3), seconds=(0.3, 0.4))
    assert world.scan() is None
    assert world.due() == KEYS
    return world


@contextmanager
def process(world: World) -> Iterator[subprocess.Popen[str]]:
    """`r2-hf process` in a session of its own, waiting for a line; killed at the end if it still runs."""
    with (world.folder / "process.log").open("a") as log:
        started = subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(world.folder)],
            cwd=world.folder,
            env={**world.command_env(), **world.env, "DAGSTER_MODULE_NAME": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        assert started.stdout is not None and started.stdout.readline() == "ready\n", said(world)
        yield started
    finally:
        with_children = os.getpgid(started.pid) if started.poll() is None else None
        if with_children is not None:
            os.killpg(with_children, signal.SIGKILL)
        started.communicate()


def go(started: subprocess.Popen[str]) -> None:
    assert started.stdin is not None
    started.stdin.write("go\n")
    started.stdin.flush()


def said(world: World) -> str:
    return (world.folder / "process.log").read_text()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kills by way of /proc")
def test_killed_between_the_commit_and_its_records_a_rerun_only_records(planned: World) -> None:
    for number, shot in enumerate([Shot("between commit and record"), Shot("after the event of the commit")]):
        arm(planned.folder / "points", number, shot)
        with process(planned) as started:
            go(started)
            assert started.wait(PATIENCE_S) == -signal.SIGKILL, said(planned)
        assert len(fired(planned.folder / "points")) == number + 1
        assert len(planned.commits()) == 1
        # The first run recorded nothing; the second found everything on the Hub, and was killed at its first record.
        assert planned.due() == KEYS[number:]
    head = planned.head()
    assert [run.error for run in planned.build_due()] == [None, None]
    assert planned.due() == [] and planned.head() == head and len(planned.commits()) == 1
    records = [materializations(planned, "hub_commit", key) for key in KEYS]
    assert [(len(found), found[0]["committed"]) for found in records] == [(1, False)] * 3
    paths = [row["audio"]["path"] for row in planned.table().to_pylist()]
    assert len(paths) == len(set(paths)) == sum(found[0]["dagster/row_count"] for found in records)
    assert list((planned.folder / "dagster_home" / "r2_hf_assets" / "shards").rglob("*.parquet")) == []


@pytest.mark.slow
def test_two_at_the_same_time_make_one_commit(planned: World) -> None:
    with process(planned) as first, process(planned) as second:
        go(first)
        go(second)
        assert [started.wait(PATIENCE_S) for started in (first, second)] == [0, 0], said(planned)
    assert planned.due() == [] and len(planned.commits()) == 1
    paths = [row["audio"]["path"] for row in planned.table().to_pylist()]
    assert len(paths) == len(set(paths)) > 0
    for key in KEYS:
        assert len(materializations(planned, "hub_commit", key)) == 2
