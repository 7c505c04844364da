"""Each folder of the product on a disk that is full, read-only, without permission or occupied by a file: one line
reports it, and the next run completes the work."""

from contextlib import suppress
from pathlib import Path

import pytest
from huggingface_hub.errors import RepositoryNotFoundError

from r2_hf_assets_tests.fault.disk.small_disk import SmallDisk
from r2_hf_assets_tests.support.world import World

FULL = "no space is left on its disk; free some, and a later run continues"
READ_ONLY = "it is read-only; mount it for writing, or choose another folder"
NO_RIGHT = "this user has no permission; change its owner or mode"
A_FILE = "a file is in place of a folder; move it away"


@pytest.fixture
def keys(world: World) -> set[str]:
    """The keys of the rows of one chunk in the bucket."""
    summary = world.upload(episodes={"en": 2}, segments=(3, 3), seconds=(0.3, 0.4))
    return {row.key for row in summary.rows}


def check_whole(world: World, keys: set[str]) -> None:
    assert sorted(row["audio"]["path"] for row in world.table().to_pylist()) == sorted(keys)
    assert len(world.commits()) == 1


def check_nothing_there(world: World) -> None:
    """Check that the repo does not exist or has no data file."""
    with suppress(RepositoryNotFoundError):
        assert world.files() == []


def line(folder: Path | str, message: str) -> str:
    return f"{folder}: {message}"


def test_the_plan(world: World, disk: SmallDisk, keys: set[str]) -> None:
    state = disk.folder / "state"
    steps = ["fill", "scan", "files", "free", "scan", "read-only", "scan", "writable", "scan"]
    closed = ["chmod 000 state/plan/en", "scan", "build", "chmod 755 state/plan/en", "build"]
    full, left, *rest = disk.run({**world.env, "STATE_URL": str(state)}, *steps, *closed)
    assert (full, left) == (line(state, FULL), [])
    assert rest[:3] == [None, line(state, READ_ONLY), None]
    assert rest[3:] == [line(state, NO_RIGHT), f"DiskError: {line(state, NO_RIGHT)}", None]
    check_whole(world, keys)


def test_a_plan_that_can_not_be_created(world: World, disk: SmallDisk) -> None:
    state = disk.folder / "state"
    results = disk.run({**world.env, "STATE_URL": str(state)}, "read-only", "scan", "writable", "file state", "scan")
    assert results == [line(state, READ_ONLY), line(state, A_FILE)]


def test_the_build_records(world: World, disk: SmallDisk, keys: set[str]) -> None:
    state = disk.folder / "state"
    full = ["scan", "fill 4096", "build", "free", "read-only", "build", "writable"]
    closed = ["chmod 500 state/builds/en", "build", "chmod 755 state/builds/en", "build"]
    results = disk.run({**world.env, "STATE_URL": str(state)}, *full, *closed, "files")
    builds = state / "builds"
    assert results[:4] == [None, line(builds, FULL), line(builds, READ_ONLY), line(builds, NO_RIGHT)]
    assert results[4] is None and "state/builds/en/chunk-00000.json" in results[5]
    check_whole(world, keys)


def test_the_scratch_of_an_upload_over_lfs(world: World, namespace: tuple[str, ...], keys: set[str]) -> None:
    home = Path(world.env["DAGSTER_HOME"]) / "r2_hf_assets"
    disk = SmallDisk(home, "1m", namespace)
    env = {**world.env, "STATE_URL": f"s3://{world.bucket}/state", "HF_HUB_DISABLE_XET": "1"}
    results = disk.run(env, "scan", "fill", "build", "free", "read-only", "build", "writable", "build", "files")
    scratch = home / "scratch"
    assert results == [None, line(scratch, FULL), line(scratch, READ_ONLY), None, ["grid_languages.txt"]]
    check_whole(world, keys)


def test_the_scratch_of_a_look_at_all_rows(world: World, disk: SmallDisk) -> None:
    results = disk.run(world.env, "rows", "files", "read-only", "rows", "writable")
    scratch = disk.folder / "scratch"
    assert results == [line(scratch, FULL), [], line(scratch, READ_ONLY)]
    roomy = SmallDisk(world.folder / "roomy", "32m", disk.command)
    assert roomy.run(world.env, "rows", "files") == [None, []]


def test_the_caches_of_the_hubs_clients(world: World, disk: SmallDisk, keys: set[str]) -> None:
    env = {**world.env, "HF_HOME": str(disk.folder / "hf_home")}
    name = f"HF_HOME ({disk.folder / 'hf_home'})"
    results = disk.run(env, "scan", "read-only", "build", "writable", "fill", "build")
    assert results == [None, line(name, READ_ONLY), line(name, FULL)]
    check_nothing_there(world)
    assert disk.run(env, "build") == [None]
    check_whole(world, keys)


def test_the_instance(world: World, namespace: tuple[str, ...], keys: set[str]) -> None:
    """Dagster itself fails here, with a traceback; its records stay, and it continues when there is space."""
    disk = SmallDisk(Path(world.env["DAGSTER_HOME"]), "6m", namespace)
    planned, full, again, built = disk.run(world.env, "scan", "fill", "build", "free", "scan", "build")
    assert planned is None and "sqlite3.OperationalError" in full
    assert (again, built) == (None, None)
    check_whole(world, keys)
