"""Lost folders: a plan in the history is not silently replaced, and a run fails when its folder disappears."""

import shutil
from pathlib import Path

import obstore
import pytest
from dagster import DagsterInstance

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.assets import parquet_shards as assets
from r2_hf_assets.bucket.listing import list_language_folders
from r2_hf_assets.cli.in_process import execute
from r2_hf_assets.errors import DiskError
from r2_hf_assets.hub.build import build_on_hub
from r2_hf_assets.partitions import partition_key
from r2_hf_assets.plan import scan as scans
from r2_hf_assets.plan.due import UNPLANNED, find_unplanned
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.runs.history import recorded_digests
from r2_hf_assets.runs.reconcile import examine
from r2_hf_assets.settings import load
from r2_hf_assets_tests.support.world import World, materializations

SMALL = {"segments": (2, 2), "seconds": (0.3, 0.4)}


@pytest.fixture
def state(in_process: World) -> Path:
    """The plan's folder."""
    return in_process.folder / "dagster_home" / "r2_hf_assets" / "state"


def test_a_lost_plan_is_refused_and_a_restored_one_continues(done: World, state: Path) -> None:
    head = done.head()
    state.rename(state.with_name("away"))
    error = done.scan()
    assert error is not None and "\n" not in error
    assert error.startswith(
        f"plan: 2 chunks were built that {state} (STATE_URL) does not hold (en|chunk_0000, en|chunk_0001)"
    )
    assert "start_anew: true" in error
    assert not list(state.rglob("*.json")), "no plan was created"
    shutil.rmtree(state)
    state.with_name("away").rename(state)
    assert done.scan() is None
    assert (done.due(), done.head()) == ([], head)


def test_a_plan_from_an_old_backup_is_refused_too(done: World, state: Path) -> None:
    (state / "plan" / "en" / "chunk_0001.json").unlink()
    error = done.scan()
    assert error is not None and "plan: 1 chunk was built" in error and "(en|chunk_0001)" in error


def test_a_partition_without_any_plan_is_refused_and_keeps_its_record(done: World, state: Path) -> None:
    shutil.rmtree(state)
    error = done.build("en|chunk_0000")
    assert error == "plan: STATE_URL holds none; restore it if there was one, else run r2-hf scan"
    assert len(materializations(done, "parquet_shards", "en|chunk_0000")) == 1


def test_a_partition_is_not_built_from_another_bucket(done: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its episodes would be missing there."""
    monkeypatch.setenv("R2_BUCKET", done.sandbox.bucket)
    error = done.build("en|chunk_0000")
    assert error is not None and "correct R2_BUCKET in .env" in error
    assert len(done.commits()) == 2


def test_start_anew_plans_again_once(done: World, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(state)
    monkeypatch.setenv("EPISODES_PER_CHUNK", "10")
    assert done.scan(start_anew=True) is None
    assert done.due() == ["en|chunk_0000"], "one large chunk instead of two"
    with DagsterInstance.get() as instance:
        assert recorded_digests(instance, COMMIT)["en", 1] == UNPLANNED
    assert done.scan() is None, "the old chunks are no longer required"
    assert [run.error for run in done.build_due()] == [None]
    keys = [row["audio"]["path"] for row in done.table().to_pylist()]
    assert len(set(keys)) == len(keys) == 8, "every segment once, without rows of the old plan"
    assert done.files() == ["data/en/chunk-00000.parquet"]


def test_start_anew_with_nothing_lost_changes_nothing(done: World) -> None:
    assert done.scan(start_anew=True) is None
    assert done.due() == []


def test_a_state_folder_removed_during_a_run_fails_it_and_is_not_created_again(
    in_process: World, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = in_process
    world.upload(episodes={"en": 2}, **SMALL)
    world.scan()

    def build_and_remove(*arguments, **options):
        build = build_on_hub(*arguments, **options)
        state.rename(state.with_name("away"))
        return build

    with monkeypatch.context() as patch:
        patch.setattr(assets, "build_on_hub", build_and_remove)
        (failed,) = world.build_due()
    assert failed.error == f"{state / 'builds'}: it does not exist, or its disk is not mounted; restore it"
    assert materializations(world, "parquet_shards") == []
    assert not state.exists()
    state.with_name("away").rename(state)
    assert [run.error for run in world.build_due()] == [None]
    assert len(world.commits()) == 1


def test_a_plan_folder_removed_during_a_scan_is_not_created_again(
    in_process: World, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = in_process
    world.upload(episodes={"en": 2}, **SMALL)

    def list_and_remove(*arguments):
        folders = list_language_folders(*arguments)
        shutil.rmtree(state)
        return folders

    with monkeypatch.context() as patch:
        patch.setattr(scans, "list_language_folders", list_and_remove)
        assert world.scan() == f"{state}: it does not exist, or its disk is not mounted; restore it"
    assert not state.exists()
    assert world.scan() is None and world.due() == ["en|chunk_0000"]


def test_a_record_lost_before_its_commit_is_built_again(in_process: World, state: Path) -> None:
    world = in_process
    world.upload(episodes={"en": 2}, **SMALL)
    world.scan()
    with DagsterInstance.get() as instance:
        assert execute(instance, [SHARDS], partition_key("en", 0)).success
        shutil.rmtree(state / "builds")
        assert not execute(instance, [COMMIT], partition_key("en", 0)).success
    assert [run.error for run in world.build_due()] == [None]
    assert len(world.commits()) == 1


def test_lost_records_of_committed_chunks_are_not_needed(done: World, state: Path) -> None:
    """History and Hub agree without them. runs/test_reconcile.py has the case of a lost history."""
    head = done.head()
    shutil.rmtree(state / "builds")
    with DagsterInstance.get() as instance:
        assert examine(instance, load()).differences == []
    assert (done.due(), done.build("en|chunk_0000"), done.head()) == ([], None, head)


def test_the_home_of_an_earlier_release_is_continued_and_its_pending_shards_are_built_again(
    in_process: World, state: Path
) -> None:
    """It stored records and uncommitted shards in a folder that is no longer read."""
    world = in_process
    world.upload(episodes={"en": 4}, **SMALL)
    world.scan()
    assert world.build("en|chunk_0000") is None
    with DagsterInstance.get() as instance:
        assert execute(instance, [SHARDS], partition_key("en", 1)).success
    shards = state.with_name("shards")
    (state / "builds").rename(shards)
    waiting = shards / "en" / "chunk-00001.parquet"
    waiting.write_bytes(b"PAR1 as it was built then")
    before = sorted(shards.rglob("*"))
    assert world.due() == ["en|chunk_0001"]
    assert [done.error for done in world.build_due()] == [None]
    assert (world.due(), len(world.commits())) == ([], 2)
    keys = [row["audio"]["path"] for row in world.table().to_pylist()]
    assert len(set(keys)) == len(keys) == 8
    assert len(materializations(world, "hub_commit", "en|chunk_0000")) == 1
    assert sorted(shards.rglob("*")) == before, "only the user deletes it"
    with DagsterInstance.get() as instance:
        assert examine(instance, load()).differences == []


def test_recorded_chunks_without_a_plan_are_lost_and_unplanned_cells_are_not() -> None:
    recorded = {("en", 0): "digest", ("en", 1): "digest", ("de", 0): UNPLANNED, ("fr", 0): None}
    assert find_unplanned([("en", 0)], recorded) == [("en", 1)]
    assert find_unplanned([], recorded) == [("en", 0), ("en", 1)]
    assert find_unplanned([("en", 0), ("en", 1), ("en", 2)], recorded) == []


def test_a_plan_in_a_removed_folder_is_a_disk_error(in_process: World, state: Path) -> None:
    plan = PlanStore(obstore.store.LocalStore(state, mkdir=True), "b", "p/")
    plan.check_identity()
    shutil.rmtree(state)
    with pytest.raises(DiskError, match="restore it"):
        plan.planned()
