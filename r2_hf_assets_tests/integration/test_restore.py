"""`r2-hf restore`: after the loss of DAGSTER_HOME and STATE_URL, the dataset alone is enough to go on."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster import DagsterInstance
from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from r2_hf_assets.asset_keys import SHARDS
from r2_hf_assets.cli.in_process import due_chunks, execute
from r2_hf_assets.hub.commit import commit_indexes
from r2_hf_assets.partitions import partition_key
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.runs.reconcile import examine
from r2_hf_assets.settings import load
from r2_hf_assets_tests.cli.calls import call
from r2_hf_assets_tests.support.build_samples import put_episode
from r2_hf_assets_tests.support.world import ROOT, World, materializations


@pytest.fixture
def speech(in_process: World) -> World:
    """Three committed chunks of English and one of German, one of them amended twice."""
    for name in ("a", "b", "c", "d", "e", "f", "g"):
        put_episode(in_process.store(), f"en/{name}", 3, without=[2] if name == "e" else ())
    put_episode(in_process.store(), "de/a", 2)
    assert in_process.scan() is None
    assert not any(run.error for run in in_process.build_due())
    return in_process


def manifests() -> list[ChunkManifest]:
    settings = load()
    plan = open_plan(settings.plan, settings.r2)
    return [chunk for ref in plan.planned() if (chunk := plan.find(*ref.name))]


def lose_everything(world: World) -> None:
    home = world.folder / "dagster_home"
    shutil.rmtree(home)
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)


def restore(capfd: pytest.CaptureFixture[str]) -> list[str]:
    done = call(capfd, "restore")
    assert done.code == 0, done.stderr
    return done.stderr


def test_all_is_lost_restored_and_goes_on(speech: World, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(capfd, "remove", "en/b", "en/d:SPEAKER_01", "en/zz9", "--reason", "x").code == 1, "en/zz9 is unknown"
    put_episode(speech.store(), "en/zz", 1)
    assert call(capfd, "remove", "en/b", "en/d:SPEAKER_01", "en/zz", "--reason", "private reason").code == 0
    assert not any(run.error for run in speech.build_due())
    put_episode(speech.store(), "en/a", 4)
    assert call(capfd, "refresh").code == 0
    assert not any(run.error for run in speech.build_due())
    before, keys, head = manifests(), speech.row_keys(), speech.head()
    lose_everything(speech)

    refused = call(capfd, "scan")
    assert refused.code == 1 and "`r2-hf restore`" in refused.stderr[-1]
    last = restore(capfd)[-1]
    assert "4 chunks and 2 amendments restored; 4 recorded as done, 0 due" in last
    after = manifests()
    assert [(chunk.name, chunk.episodes, chunk.digest) for chunk in after] == [
        (chunk.name, chunk.episodes, chunk.digest) for chunk in before
    ]
    assert (speech.due(), speech.head()) == ([], head), "a restore changes nothing on the Hub"
    assert {one.reason for chunk in after for one in chunk.amendments} == {""}, "reasons are not on the Hub"
    with DagsterInstance.get() as instance:
        assert examine(instance, load()).differences == []
    assert materializations(speech, "hub_commit", "de|chunk_0000")[0]["stats"]["rows"] == 2

    for name in ("h", "i"):
        put_episode(speech.store(), f"en/{name}", 2)
    assert call(capfd, "scan").stdout == ["5 chunks planned"]
    assert speech.due() == ["en|chunk_0003"]
    assert call(capfd, "process").code == 0
    rows = Counter(speech.row_keys())
    assert set(rows.values()) == {1}
    new = [f"processed/en/{name}/{name}_{number:06d}.mp3" for name in "hi" for number in range(2)]
    assert sorted(rows) == sorted(keys + new)
    assert call(capfd, "refresh").stdout == [], "the ETags are known again"


def test_chunks_that_were_not_committed_are_planned_anew_under_other_numbers(
    speech: World, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("h", "i", "j", "k"):
        put_episode(speech.store(), f"en/{name}", 1)
    assert speech.scan() is None
    assert speech.due() == ["en|chunk_0003", "en|chunk_0004"]
    assert speech.build("en|chunk_0004") is None
    lose_everything(speech)
    restore(capfd)
    assert [chunk.name for chunk in manifests()] == [("de", 0), ("en", 0), ("en", 1), ("en", 2), ("en", 4)]
    assert call(capfd, "scan").code == 0
    assert speech.due() == ["en|chunk_0005"]
    assert not any(run.error for run in speech.build_due())
    assert set(Counter(speech.row_keys()).values()) == {1}
    assert sorted({key.split("/")[2] for key in speech.row_keys() if "/en/" in key}) == list("abcdefghijk")


def test_a_restore_is_repeatable_and_an_interrupted_one_plans_nothing(
    speech: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_everything(speech)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("r2_hf_assets.plan.store.PlanStore.write_index", killed)
        assert call(capfd, "restore").code == 130
    scan = call(capfd, "scan")
    assert scan.code == 1 and "belongs to another plan" in scan.stderr[-1]
    restore(capfd)
    (speech.folder / "dagster_home" / "r2_hf_assets" / "state" / "plan" / "index.json").unlink()
    assert "; 0 recorded as done" in restore(capfd)[-1]
    assert speech.due() == []


def test_files_that_are_not_the_index_s_are_due(speech: World, capfd: pytest.CaptureFixture[str]) -> None:
    keys = speech.row_keys()
    speech.api().create_commit(
        speech.repo_id,
        [CommitOperationDelete("data/en/chunk-00001.parquet")],
        commit_message="lose a file",
        repo_type="dataset",
    )
    lose_everything(speech)
    assert "3 recorded as done, 1 due" in restore(capfd)[-1]
    assert speech.due() == ["en|chunk_0001"]
    assert not any(run.error for run in speech.build_due())
    assert speech.row_keys() == keys


def test_what_can_not_be_restored_is_refused_in_one_line(
    speech: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    state = speech.folder / "dagster_home" / "r2_hf_assets" / "state"

    def problem(code: int = 1) -> str:
        done = call(capfd, "restore")
        assert done.code == code
        return done.stderr[-1]

    with monkeypatch.context() as patch:
        patch.setenv("HF_REPO_ID", f"{speech.repo_id}-absent")
        assert "there is no" in problem()
    with monkeypatch.context() as patch:
        patch.setenv("STATE_URL", str(tmp_path / "other"))
        other = load()
        open_plan(other.plan, other.r2).check_identity()
        open_plan(other.plan, other.r2).ensure_id()
        assert "STATE_URL holds another plan" in problem()
    lose_everything(speech)
    with monkeypatch.context() as patch:
        patch.setenv("PROCESSED_PREFIX", "elsewhere/")
        patch.setenv("STATE_URL", str(tmp_path / "third"))
        assert "prefix processed/, and the dataset of " in problem()
    path = "metadata/en/chunk-00001.parquet"
    commit_file(speech, path, parquet_with({b"r2_hf_assets": b"{}"}))
    assert f"{path}: " in problem() and "header can't be read" in problem()
    speech.api().delete_file(path, speech.repo_id, repo_type="dataset")
    assert "data/en/chunk-00001.parquet has no index" in problem()
    assert not (state / "plan" / "id.json").exists()


def parquet_with(metadata: dict[bytes, bytes]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"episode": ["x"]}).replace_schema_metadata(metadata), sink)
    return bytes(sink.getvalue().to_pybytes())


def commit_file(world: World, path: str, content: bytes) -> None:
    world.api().create_commit(
        world.repo_id, [CommitOperationAdd(path, content)], commit_message="by hand", repo_type="dataset"
    )


def test_a_lost_history_is_recorded_by_the_indexes_alone(
    speech: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Build records and history are lost, the plan is not. A chunk that was amended since is built again."""
    home = speech.folder / "dagster_home"
    state = home / "r2_hf_assets" / "state"
    shutil.copytree(state / "plan", speech.folder / "plan")
    assert call(capfd, "remove", "en/b", "--reason", "x").code == 0
    shutil.copytree(state / "plan", speech.folder / "plan", dirs_exist_ok=True)
    lose_everything(speech)
    shutil.copytree(speech.folder / "plan", state / "plan")
    with monkeypatch.context() as patch:
        patch.setattr("r2_hf_assets.reconcile.verify.verify_chunk", None)  # reads files and the bucket
        recorded = call(capfd, "reconcile", "--record", "--json")
    report: dict[str, Any] = json.loads("\n".join(recorded.stdout))
    assert sorted(report["recordable"]) == ["de|chunk_0000", "en|chunk_0001", "en|chunk_0002"]
    assert speech.due() == ["en|chunk_0000"]
    assert not any(run.error for run in speech.build_due())
    assert "b" not in {key.split("/")[2] for key in speech.row_keys()}


@pytest.fixture
def unindexed(in_process: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Two chunks as a release without indexes committed them."""
    from r2_hf_assets.shards.record import BuildRecord

    for name in ("a", "b", "c", "d"):
        put_episode(in_process.store(), f"en/{name}", 3, without=[0, 1, 2] if name == "b" else ())
    monkeypatch.setenv("PARQUET_MAX_BYTES", "70000")
    assert in_process.scan() is None
    with monkeypatch.context() as patch:
        patch.setattr(BuildRecord, "all_files", property(lambda record: record.files))
        assert not any(run.error for run in in_process.build_due())
    assert in_process.due() == []
    return in_process


def test_no_index_is_written_of_a_chunk_that_is_amended_meanwhile(
    unindexed: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of its files were read before the removal: the index would have the text of what is removed."""

    def remove_first(*arguments: Any) -> Any:
        patch.undo()
        assert call(capfd, "remove", "en/a", "--reason", "x").code == 0
        return commit_indexes(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("r2_hf_assets.reconcile.write_index.commit_indexes", remove_first)
        assert call(capfd, "reconcile", "--write-index").code == 0
    assert [path for path in unindexed.indexes() if path.endswith(".parquet")] == ["metadata/en/chunk-00001.parquet"]
    assert unindexed.due() == ["en|chunk_0000"]
    assert not any(run.error for run in unindexed.build_due())
    assert "en/a" not in {row["episode"] for row in unindexed.index_rows() if row["text"]}


def test_write_index(unindexed: World, capfd: pytest.CaptureFixture[str]) -> None:
    reconciled = call(capfd, "reconcile")
    assert reconciled.stdout == [] and "; 2 chunks without an index" in reconciled.stderr[0]
    assert "2 chunks have no index to count" in call(capfd, "release", "v1").stderr[-1]
    commits = len(unindexed.api().list_repo_commits(unindexed.repo_id, repo_type="dataset"))
    written = call(capfd, "reconcile", "--write-index")
    assert written.code == 0, written.stderr
    assert len(unindexed.api().list_repo_commits(unindexed.repo_id, repo_type="dataset")) == commits + 1
    assert "without an index" not in call(capfd, "reconcile").stderr[0]
    assert call(capfd, "reconcile").stdout == []
    with unindexed.dataset_folder() as folder:
        rows = pq.read_table(folder / "metadata/en/chunk-00000.parquet").to_pylist()
        for row in (row for row in rows if row["file"]):
            table = pq.ParquetFile(folder / row["file"]).read_row_group(row["row_group"])
            read = table.slice(row["row"], 1).to_pylist()[0]
            assert (read["audio"]["path"], read["text"]) == (row["key"], row["text"])
    assert Counter(row["episode"] for row in rows) == {"en/a": 3, "en/b": 1, "en/c": 3}
    assert [row["reject_reason"] for row in rows if row["episode"] == "en/b"] == ["no_row"]
    assert unindexed.due() == []
    refreshed = call(capfd, "refresh")
    assert refreshed.stdout == [] and refreshed.stderr[0].startswith("4 objects without an ETag in the index")
    assert len(call(capfd, "refresh", "--since", "2020-01-01", "--dry-run").stdout) == 4

    keys = unindexed.row_keys()
    lose_everything(unindexed)
    restore(capfd)
    assert (unindexed.due(), unindexed.row_keys()) == ([], keys)
    with DagsterInstance.get() as instance:
        assert due_chunks(instance) == []


def test_a_users_files_beside_the_amendments_are_none(speech: World, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(capfd, "remove", "en/b", "--reason", "x").code == 0
    added = [CommitOperationAdd(f"metadata/amendments/{name}", b"notes") for name in ("README.md", "0001.json.bak")]
    speech.api().create_commit(speech.repo_id, added, commit_message="notes", repo_type="dataset")
    assert not any(run.error for run in speech.build_due())
    lose_everything(speech)
    assert "4 chunks and 1 amendment restored; 4 recorded as done" in restore(capfd)[-1]


def test_only_the_plan_is_lost(speech: World, capfd: pytest.CaptureFixture[str]) -> None:
    """The history names a chunk that was built and not committed: its episodes are planned anew."""
    put_episode(speech.store(), "en/h", 1)
    assert speech.scan() is None
    with DagsterInstance.get() as instance:
        assert execute(instance, [SHARDS], partition_key("en", 3)).success
    shutil.rmtree(speech.folder / "dagster_home" / "r2_hf_assets")
    restore(capfd)
    assert call(capfd, "scan").code == 0
    assert not any(run.error for run in speech.build_due())
    rows = Counter(speech.row_keys())
    assert set(rows.values()) == {1}
    assert {key.split("/")[2] for key in rows if "/en/" in key} == set("abcdefgh")
