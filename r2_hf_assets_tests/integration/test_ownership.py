"""A dataset belongs to one plan, and a commit counts for the dataset that it was made in."""

import shutil
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance

from r2_hf_assets.cli.in_process import execute
from r2_hf_assets.hub.ownership import OWNER_PATH
from r2_hf_assets.runs import metadata, runless_events
from r2_hf_assets.settings import load
from r2_hf_assets.shards.builds import open_builds
from r2_hf_assets_tests.support.world import World, materializations

SMALL = {"segments": (2, 3), "seconds": (0.3, 0.4)}


def new_home(world: World, monkeypatch: pytest.MonkeyPatch, name: str = "another_home") -> None:
    home = world.folder / name
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))


def test_a_second_bucket_cannot_be_planned_into_the_dataset_of_the_first(
    done: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, head = done.row_keys(), done.head()
    (tmp_path / "other").mkdir()
    other = World.make(done.sandbox, tmp_path / "other", "other")
    other.upload(episodes={"en": 3}, seed=2, **SMALL)
    monkeypatch.setenv("R2_BUCKET", other.bucket)
    monkeypatch.setenv("DAGSTER_HOME", other.env["DAGSTER_HOME"])
    error = done.scan()
    assert error is not None and "\n" not in error
    assert error.startswith(f"{done.repo_id} belongs to another plan (") and "restore that plan" in error
    assert done.build_due() == []
    assert (done.row_keys(), done.head()) == (rows, head)
    # A plan of another dataset is refused before anything is built.
    monkeypatch.setenv("HF_REPO_ID", other.repo_id)
    assert done.scan() is None
    monkeypatch.setenv("HF_REPO_ID", done.repo_id)
    error = done.build("en|chunk_0000")
    assert error is not None and error.startswith(f"{done.repo_id} belongs to another plan (")
    assert materializations(done, "parquet_shards") == []
    assert (done.row_keys(), done.head()) == (rows, head)


def test_a_new_home_is_refused_for_an_existing_dataset_without_start_anew(
    done: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, head = done.row_keys(), done.head()
    new_home(done, monkeypatch)
    monkeypatch.setenv("EPISODES_PER_CHUNK", "2")
    error = done.scan()
    assert error is not None and "and there is none here): restore that plan" in error
    assert (done.due(), done.row_keys(), done.head()) == ([], rows, head)
    assert done.scan(start_anew=True) is None
    assert done.files() == []
    assert [run.error for run in done.build_due()] == [None, None]
    assert done.row_keys() == rows


def test_a_commit_counts_for_the_dataset_that_it_was_made_in(done: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = done.repo_id, f"{done.repo_id}-b"
    rows, head = done.row_keys(), done.head()
    monkeypatch.setenv("HF_REPO_ID", second)
    assert done.due() == ["en|chunk_0000", "en|chunk_0001"]
    assert done.build("en|chunk_0000") is None
    assert done.due() == ["en|chunk_0001"]
    assert materializations(done, "hub_commit", "en|chunk_0000")[0]["dataset"] == second
    monkeypatch.setenv("HF_REPO_ID", first)
    assert done.due() == ["en|chunk_0000"], "its latest commit is of the other dataset"
    assert done.build("en|chunk_0000") is None
    assert (done.due(), done.row_keys(), done.head()) == ([], rows, head), "all files were there"


def test_a_plan_restored_after_another_plan_started_over_builds_its_dataset_again(
    done: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = done.row_keys()
    (tmp_path / "other").mkdir()
    other = World.make(done.sandbox, tmp_path / "other", "other")
    other.upload(episodes={"en": 1}, seed=2, **SMALL)
    with monkeypatch.context() as patch:
        patch.setenv("R2_BUCKET", other.bucket)
        patch.setenv("DAGSTER_HOME", other.env["DAGSTER_HOME"])
        assert done.scan(start_anew=True) is None
        assert [run.error for run in done.build_due()] == [None]
    assert done.files() == ["data/en/chunk-00000.parquet"]
    assert done.scan(start_anew=True) is None
    assert (done.files(), done.due()) == ([], ["en|chunk_0000", "en|chunk_0001"])
    assert [run.error for run in done.build_due()] == [None, None]
    assert done.row_keys() == rows


def test_start_anew_keeps_own_chunks_committed_under_the_datasets_earlier_name(
    done: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, where = done.row_keys(), {"repo_id": done.repo_id, "repo_type": "dataset"}
    monkeypatch.setenv("HF_REPO_ID", done.repo_id.upper())
    assert [run.error for run in done.build_due()] == [None, None]
    monkeypatch.setenv("HF_REPO_ID", done.repo_id)
    done.api().delete_file(OWNER_PATH, **where)
    assert done.scan(start_anew=True) is None
    assert done.row_keys() == rows


def record_as_earlier_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record data versions without the dataset's name."""
    monkeypatch.setattr(metadata, "data_version", lambda digest, dataset=None: digest)
    monkeypatch.setattr(runless_events, "data_version", lambda digest, dataset=None: digest)


def test_a_dataset_of_an_earlier_release_is_taken_over_with_its_history(
    in_process: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = in_process
    world.upload(episodes={"en": 7}, **SMALL)
    assert world.scan() is None
    with monkeypatch.context() as patch:
        record_as_earlier_release(patch)
        assert world.build("en|chunk_0000") is None and world.build("en|chunk_0001") is None
    world.api().delete_file(OWNER_PATH, world.repo_id, repo_type="dataset")
    (world.folder / "dagster_home" / "r2_hf_assets" / "state" / "plan" / "id.json").unlink()
    shutil.rmtree(world.folder / "dagster_home" / "r2_hf_assets" / "state" / "builds")
    assert world.due() == ["en|chunk_0002"]
    monkeypatch.setenv("HF_REPO_ID", f"{world.repo_id}-b")
    assert len(world.due()) == 3, "its events name the dataset in their metadata"
    monkeypatch.setenv("HF_REPO_ID", world.repo_id)
    assert [run.error for run in world.build_due()] == [None]
    assert world.api().file_exists(world.repo_id, OWNER_PATH, repo_type="dataset")
    assert len(world.row_keys()) == len(set(world.row_keys()))


def test_an_unowned_dataset_with_unknown_files_is_not_taken_over(
    in_process: World,
) -> None:
    world = in_process
    world.upload(episodes={"en": 1}, **SMALL)
    assert world.scan() is None
    world.api().create_repo(world.repo_id, repo_type="dataset")
    world.api().upload_file(
        path_or_fileobj=b"PAR1 unknown", path_in_repo="data/en/chunk-00005.parquet", repo_id=world.repo_id,
        repo_type="dataset",
    )  # fmt: skip
    error = world.build("en|chunk_0000")
    assert error is not None and "names no plan and holds 1 chunk file" in error
    assert world.files() == ["data/en/chunk-00005.parquet"]


def test_an_unknown_file_at_a_chunks_path_fails_the_commit_until_it_is_deleted(
    in_process: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = in_process
    world.upload(episodes={"en": 4}, **SMALL)
    assert world.scan() is None
    assert world.build("en|chunk_0000") is None
    path, where = "data/en/chunk-00001.parquet", {"repo_id": world.repo_id, "repo_type": "dataset"}
    world.api().upload_file(path_or_fileobj=b"PAR1 unknown", path_in_repo=path, **where)
    head = world.head()
    error = world.build("en|chunk_0001")
    assert error is not None and error.startswith(f"{path} on the Hub is a file that neither the history nor")
    assert world.head() == head
    world.api().delete_file(path, **where)
    assert world.build("en|chunk_0001") is None
    assert len(world.row_keys()) == len(set(world.row_keys())) > 0


def test_a_rebuilt_chunk_replaces_what_a_killed_run_committed(
    in_process: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between commit and event, and the build record is forgotten: no history names the Hub's files."""
    world = in_process
    summary = world.upload(episodes={"en": 1}, **SMALL)
    assert world.scan() is None

    from r2_hf_assets.assets import hub_commit as module

    with monkeypatch.context() as patch:
        patch.setattr(module, "result_for", lambda *_: (_ for _ in ()).throw(KeyError("killed")))
        assert world.build("en|chunk_0000") is not None
    assert (len(world.commits()), world.due()) == (1, ["en|chunk_0000"])
    settings = load()
    builds = open_builds(settings.plan, settings.r2)
    builds.invalidate(builds.readable_records([("en", 0)])["en", 0])
    gone, s3 = summary.rows[0].key, world.sandbox.s3.client()
    audio = world.object(gone)
    s3.delete_object(Bucket=world.bucket, Key=gone)
    refused = world.build("en|chunk_0000")
    assert refused is not None and "would lose rows: 1 x audio_missing" in refused
    s3.put_object(Bucket=world.bucket, Key=gone, Body=audio[:-1])
    assert world.build("en|chunk_0000") is None
    assert gone in world.row_keys() and len(world.commits()) == 2


def test_materializing_work_plan_in_a_new_home_is_refused_too(done: World, monkeypatch: pytest.MonkeyPatch) -> None:
    new_home(done, monkeypatch)
    with DagsterInstance.get() as instance:
        assert not execute(instance, [AssetKey("work_plan")], None).success
