"""Folders that are lost: a plan that the history knows is not silently made anew, and work stops where its folder
goes."""

import shutil
from pathlib import Path

import obstore
import pytest
from dagster import DagsterInstance

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.assets import parquet_shards as assets
from r2_hf_assets.bucket.listing import language_folders
from r2_hf_assets.cli.in_process import execute
from r2_hf_assets.errors import DiskError
from r2_hf_assets.hub.build import build_on_hub
from r2_hf_assets.partitions import partition_key
from r2_hf_assets.plan import scan as scans
from r2_hf_assets.plan.due import UNPLANNED, lost
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


def test_a_lost_plan_is_refused_and_a_restored_one_goes_on(done: World, state: Path) -> None:
    head = done.head()
    state.rename(state.with_name("away"))
    error = done.scan()
    assert error is not None and "\n" not in error
    assert error.startswith(
        f"plan: 2 chunks were built that {state} (STATE_URL) does not hold (en|chunk_0000, en|chunk_0001)"
    )
    assert "start_anew: true" in error
    assert not list(state.rglob("*.json")), "no plan was begun"
    shutil.rmtree(state)
    state.with_name("away").rename(state)
    assert done.scan() is None
    assert (done.due(), done.head()) == ([], head)


def test_a_plan_from_an_old_backup_is_refused_too(done: World, state: Path) -> None:
    (state / "plan" / "en" / "chunk_0001.json").unlink()
    error = done.scan()
    assert error is not None and "plan: 1 chunks were built" in error and "(en|chunk_0001)" in error


def test_a_partition_without_any_plan_is_refused_and_keeps_its_record(done: World, state: Path) -> None:
    shutil.rmtree(state)
    error = done.build("en|chunk_0000")
    assert error == "plan: STATE_URL holds none; restore it if there was one, else materialize work_plan"
    assert len(materializations(done, "parquet_shards", "en|chunk_0000")) == 1


def test_a_partition_is_not_built_from_another_bucket(done: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its episodes are not there, and all of them would be taken for lost."""
    monkeypatch.setenv("R2_BUCKET", done.sandbox.bucket)
    error = done.build("en|chunk_0000")
    assert error is not None and "set STATE_URL to a place of its own" in error
    assert len(done.commits()) == 2


def test_who_wants_it_starts_anew_once(done: World, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(state)
    monkeypatch.setenv("EPISODES_PER_CHUNK", "10")
    assert done.scan(start_anew=True) is None
    assert done.due() == ["en|chunk_0000"], "one large chunk in the place of two"
    with DagsterInstance.get() as instance:
        assert recorded_digests(instance, COMMIT)["en", 1] == UNPLANNED
    assert done.scan() is None, "what was given up is not asked for again"
    assert [run.error for run in done.build_due()] == [None]
    keys = [row["audio"]["path"] for row in done.table().to_pylist()]
    assert len(set(keys)) == len(keys) == 8, "every segment is there once: what the old plan left was removed"
    assert done.files() == ["data/en/chunk-00000.parquet"]


def test_starting_anew_with_nothing_lost_changes_nothing(done: World) -> None:
    assert done.scan(start_anew=True) is None
    assert done.due() == []


def test_a_state_folder_that_goes_while_a_run_works_fails_it_and_is_not_made_anew(
    in_process: World, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = in_process
    world.upload(episodes={"en": 2}, **SMALL)
    world.scan()

    def gone(*arguments, **options):
        done = build_on_hub(*arguments, **options)
        state.rename(state.with_name("away"))
        return done

    with monkeypatch.context() as patch:
        patch.setattr(assets, "build_on_hub", gone)
        (failed,) = world.build_due()
    assert failed.error == f"{state / 'builds'}: it does not exist, or its disk is not mounted; restore it"
    assert materializations(world, "parquet_shards") == []
    assert not state.exists()
    state.with_name("away").rename(state)
    assert [run.error for run in world.build_due()] == [None]
    assert len(world.commits()) == 1


def test_a_plans_folder_that_goes_while_a_scan_works_is_not_made_anew(
    in_process: World, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = in_process
    world.upload(episodes={"en": 2}, **SMALL)

    def gone(*arguments):
        found = language_folders(*arguments)
        shutil.rmtree(state)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(scans, "language_folders", gone)
        assert world.scan() == f"{state}: it does not exist, or its disk is not mounted; restore it"
    assert not state.exists()
    assert world.scan() is None and world.due() == ["en|chunk_0000"]


def test_a_record_that_is_gone_before_its_commit_is_made_again(in_process: World, state: Path) -> None:
    world = in_process
    world.upload(episodes={"en": 2}, **SMALL)
    world.scan()
    with DagsterInstance.get() as instance:
        assert execute(instance, [SHARDS], partition_key("en", 0)).success
        shutil.rmtree(state / "builds")
        assert not execute(instance, [COMMIT], partition_key("en", 0)).success
    assert [run.error for run in world.build_due()] == [None]
    assert len(world.commits()) == 1


def test_lost_records_of_what_is_committed_are_not_missed(done: World, state: Path) -> None:
    """History and Hub agree without them; where the history is lost too, see runs/test_reconcile.py."""
    head = done.head()
    shutil.rmtree(state / "builds")
    with DagsterInstance.get() as instance:
        assert examine(instance, load()).differences == []
    assert (done.due(), done.build("en|chunk_0000"), done.head()) == ([], None, head)


def test_a_home_of_the_release_before_goes_on_and_what_waited_there_is_built_again(
    in_process: World, state: Path
) -> None:
    """It kept records and shards that wait for their commit in a folder of their own, which nobody reads any more."""
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
    assert sorted(shards.rglob("*")) == before, "it is the user's to delete"
    with DagsterInstance.get() as instance:
        assert examine(instance, load()).differences == []


def test_a_history_without_its_plan_is_lost_and_cells_without_a_chunk_are_not() -> None:
    recorded = {("en", 0): "digest", ("en", 1): "digest", ("de", 0): UNPLANNED, ("fr", 0): None}
    assert lost([("en", 0)], recorded) == [("en", 1)]
    assert lost([], recorded) == [("en", 0), ("en", 1)]
    assert lost([("en", 0), ("en", 1), ("en", 2)], recorded) == []


def test_a_plan_in_a_removed_folder_answers_nothing(in_process: World, state: Path) -> None:
    plan = PlanStore(obstore.store.LocalStore(state, mkdir=True), "b", "p/")
    plan.check_identity()
    shutil.rmtree(state)
    with pytest.raises(DiskError, match="put it back"):
        plan.planned()
