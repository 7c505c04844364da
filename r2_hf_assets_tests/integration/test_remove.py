"""`r2-hf remove`: what is removed leaves the dataset by one commit of its chunk, and never comes back."""

import importlib
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import obstore
import pyarrow.parquet as pq
import pytest

from r2_hf_assets.amend.remove import Removal
from r2_hf_assets.amend.remove import remove as remove_targets
from r2_hf_assets.errors import AccessError, ForeignDataset, PlanError, R2HfError
from r2_hf_assets.hub import commit as commits
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.plan.amendments import REMOVE, Target
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.settings import load
from r2_hf_assets_tests.cli.calls import call
from r2_hf_assets_tests.support.build_samples import entry, put_episode
from r2_hf_assets_tests.support.world import World, materializations, run_between

KEY = "en|chunk_0000"
hub_commit_module = importlib.import_module("r2_hf_assets.assets.hub_commit")


@pytest.fixture
def speech(in_process: World) -> World:
    """Two committed chunks of English, of three episodes and one, with two speakers in each."""
    for name in ("a", "b", "c", "d"):
        put_episode(in_process.store(), f"en/{name}", 4)
    assert in_process.scan() is None
    assert [run.error for run in in_process.build_due()] == [None, None]
    return in_process


def remove(*words: str, **options: Any) -> Removal:
    return remove_targets(load(), words, options.pop("reason", "takedown"), **options)


def index(world: World, number: int = 0) -> list[dict[str, Any]]:
    with world.dataset_folder() as folder:
        return pq.read_table(folder / f"metadata/en/chunk-{number:05d}.parquet").to_pylist()


def sha256s(world: World) -> dict[str, str]:
    tree = world.api().list_repo_tree(world.repo_id, recursive=True, repo_type="dataset")
    return {file.path: file.lfs.sha256 for file in tree if getattr(file, "lfs", None)}


def episodes(world: World) -> list[str]:
    return sorted({key.split("/")[2] for key in world.row_keys()})


def test_an_episode_leaves_by_one_commit_of_its_chunk(speech: World) -> None:
    before, commits_before = sha256s(speech), len(speech.commits())
    removal = remove("en/b")
    assert [(match.rows, match.target.chunk) for match in removal.matches] == [(4, ("en", 0))]
    assert (removal.chunks, removal.already) == ((("en", 0),), 0)
    assert speech.due() == [KEY], "an amended chunk is due by itself"

    assert [run.error for run in speech.build_due()] == [None]
    assert (episodes(speech), speech.due()) == (["a", "c", "d"], [])
    after = sha256s(speech)
    assert {path for path in after if after[path] != before[path]} == {
        "data/en/chunk-00000.parquet",
        "metadata/en/chunk-00000.parquet",
    }
    assert after.keys() == before.keys()
    assert len(speech.commits()) == commits_before + 1
    rows = index(speech)
    assert [row["episode"] for row in rows] == ["en/a"] * 4 + ["en/b"] + ["en/c"] * 4
    gone = {name: value for name, value in rows[4].items() if value is not None}
    assert gone == {"episode": "en/b", "key": "processed/en/b/all_segments.json", "reject_reason": "removed"}
    assert materializations(speech, "parquet_shards", KEY)[0]["rejects_by_reason"] == {"removed": 1}


def test_a_segment_and_a_speaker_leave_without_text_and_audio(speech: World) -> None:
    remove("processed/en/a/a_000002.mp3", "en/c:SPEAKER_01")
    assert [run.error for run in speech.build_due()] == [None]
    removed = [row for row in index(speech) if row["reject_reason"] == "removed"]
    assert [(row["episode"], row["segment"]) for row in removed] == [("en/a", 2), ("en/c", 1), ("en/c", 3)]
    hidden = ("text", "speaker_id", "start", "end", "audio_bytes", "audio_hash", "file")
    assert all(row[name] is None for row in removed for name in hidden)
    assert sum(row["reject_reason"] is None for row in index(speech)) == 12 - 3
    assert not {"processed/en/a/a_000002.mp3", "processed/en/c/c_000001.mp3"} & set(speech.row_keys())


def test_it_is_never_planned_or_built_again(speech: World) -> None:
    put_episode(speech.store(), "en/e", 2)
    put_episode(speech.store(), "en/f", 2)
    (match,) = remove("en/e").matches
    assert (match.target.chunk, match.rows) == (None, None)
    assert speech.due() == [], "an unplanned episode makes no chunk due"
    remove("en/d")
    assert speech.scan() is None
    assert [run.error for run in speech.build_due()] == [None, None]
    assert episodes(speech) == ["a", "b", "c", "f"]
    assert speech.build("en|chunk_0001") is None
    assert episodes(speech) == ["a", "b", "c", "f"]
    assert materializations(speech, "work_plan")[0]["episodes_removed"] == 1


def test_a_scan_that_planned_it_meanwhile_makes_its_chunk_due(speech: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The removal finds the episode unplanned; before it is stored, a scan plans the episode and a run commits it."""
    put_episode(speech.store(), "en/e", 2)
    real = type(open_plan(load().plan, load().r2)).amend

    def plan_first(plan: Any, *arguments: Any) -> Any:
        monkeypatch.undo()
        assert speech.scan() is None
        assert [run.error for run in speech.build_due()] == [None]
        assert "e" in episodes(speech)
        return real(plan, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr("r2_hf_assets.plan.store.PlanStore.amend", plan_first)
        patch.setattr(monkeypatch, "undo", patch.undo)
        remove("en/e")
    assert speech.due() == ["en|chunk_0002"]
    assert [run.error for run in speech.build_due()] == [None]
    assert "e" not in episodes(speech)


def test_a_killed_removal_of_an_episode_that_was_planned_meanwhile_is_completed_by_the_next(
    speech: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above, and the removal is killed once its amendment is stored, which names no chunk."""
    put_episode(speech.store(), "en/e", 2)
    real = PlanStore.amend

    def plan_first_and_be_killed(plan: Any, *arguments: Any) -> Any:
        patch.undo()
        assert speech.scan() is None
        assert [run.error for run in speech.build_due()] == [None]
        real(plan, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PlanStore, "amend", plan_first_and_be_killed)
        with pytest.raises(KeyboardInterrupt):
            remove("en/e")
    assert (speech.due(), "e" in episodes(speech)) == ([], True)
    again = remove("en/e")
    assert (again.matches, again.already, again.chunks) == ((), 1, (("en", 2),))
    assert speech.due() == ["en|chunk_0002"]
    assert [run.error for run in speech.build_due()] == [None]
    assert "e" not in episodes(speech)
    assert remove("en/e").amendment is None


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (hub_commit_module, "commit_chunk"),  # before the head is read
        (commits, "files_of_chunk"),  # after the plan was read: the parent has moved
        (HubClient, "commit"),
    ],
)
def test_a_run_that_began_before_is_refused_at_its_commit(
    speech: World, monkeypatch: pytest.MonkeyPatch, where: Any, name: str
) -> None:
    """A rebuild of the chunk holds the episode when it is removed: its commit must not land."""
    put_episode(speech.store(), "en/b", 5)
    remove("en/a", reason="makes the chunk due")
    before = sha256s(speech)
    run_between(monkeypatch, where, name, lambda: remove("en/b"))
    error = speech.build(KEY)
    assert error is not None and "was amended since it was built" in error
    assert sha256s(speech) == before
    assert speech.due() == [KEY]
    assert [run.error for run in speech.build_due()] == [None]
    assert episodes(speech) == ["c", "d"]


def test_a_removal_again_changes_nothing(speech: World) -> None:
    remove("en/b")
    assert [run.error for run in speech.build_due()] == [None]
    head = speech.head()
    again = remove("en/b", "en/b:SPEAKER_01", "processed/en/b/b_000001.mp3")
    assert (again.matches, again.already, again.amendment) == ((), 3, None)
    assert (speech.head(), speech.due()) == (head, [])


def test_a_killed_removal_is_completed_by_the_next(speech: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("r2_hf_assets.amend.remove.publish_amendments", killed)
        with pytest.raises(KeyboardInterrupt):
            remove("en/b")
    assert speech.due() == [KEY], "the plan has it"
    assert "metadata/amendments/0000.json" not in speech.api().list_repo_files(speech.repo_id, repo_type="dataset")
    assert remove("en/b").already == 1
    with speech.dataset_folder() as folder:
        copy = (folder / "metadata/amendments/0000.json").read_text()
    assert '"en/b"' in copy and "takedown" not in copy, "the reason is not published"


def test_the_command(speech: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("en/b\nen/c:SPEAKER_00\n\n")
    head = speech.head()
    dry_run = call(capfd, "remove", "--from", str(listed), "--reason", "withdrawn", "--dry-run")
    assert dry_run.stdout == [
        "en/b: en|chunk_0000: 4 segments, 800B",
        "en/c:SPEAKER_00: en|chunk_0000: 2 segments, 400B",
    ]
    assert dry_run.stderr[-1].startswith("would be removed: 2 targets (no amendment); 1 chunk to build again")
    assert (speech.head(), speech.due()) == (head, [])
    done = call(capfd, "remove", "--from", str(listed), "--reason", "withdrawn")
    assert done.stdout == dry_run.stdout
    assert done.stderr[-1].startswith("removed: 2 targets (amendment 0); 1 chunk to build again")
    assert speech.due() == [KEY]


@pytest.mark.parametrize(
    ("words", "reason", "problem"),
    [
        (["en/b", "en/zz"], "r", "en/zz: neither planned nor in the bucket"),
        (["en/b", "other/en/a/a_000000.mp3"], "r", "no audio key of this plan"),
        (["en/b", "processed/en/a/b_000000.mp3"], "r", "no audio key of this plan"),
        (["en/b", "processed/en/a/a_000009.mp3"], "r", "en/a has no segment 9"),
        (["en/b", "en/a:SPEAKER_7"], "r", "en/a has no speaker SPEAKER_7, only SPEAKER_00, SPEAKER_01"),
        (["en/b", "a"], "r", "'a' is no episode"),
        (["en/b"], "  ", "the reason is empty"),
    ],
)
def test_bad_input_changes_nothing(speech: World, words: list[str], reason: str, problem: str) -> None:
    head = speech.head()
    with pytest.raises(R2HfError, match=problem):
        remove(*words, reason=reason)
    assert (speech.head(), speech.due()) == (head, [])
    settings = load()
    assert open_plan(settings.plan, settings.r2).amendments() == []


def test_another_plan_and_a_token_without_rights_change_nothing(
    speech: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = load()
    plan = open_plan(settings.plan, settings.r2)
    with monkeypatch.context() as patch:
        patch.setenv("HF_TOKEN", "hf_wrong")
        with pytest.raises(AccessError):
            remove("en/b")
    assert plan.amendments() == []
    monkeypatch.setenv("STATE_URL", str(tmp_path / "other"))
    other = load()
    open_plan(other.plan, other.r2).check_identity()
    with pytest.raises(ForeignDataset):
        remove("en/b")


def test_an_episode_with_a_colon_is_not_a_speaker(in_process: World) -> None:
    put_episode(in_process.store(), "en/a", [entry(0, speaker="b")])
    obstore.put(in_process.store(), "processed/en/a:b/all_segments.json", b"[]")
    assert in_process.scan() is None
    assert [match.target.speaker for match in remove("en/a:b", dry_run=True).matches] == [None]


def test_an_old_copy_of_the_plan_builds_and_amends_nothing(speech: World, tmp_path: Path) -> None:
    """STATE_URL is lost and restored from a backup that is older than the removal."""
    state, backup = speech.folder / "dagster_home/r2_hf_assets/state", tmp_path / "backup"
    shutil.copytree(state, backup)
    remove("en/b")
    assert [run.error for run in speech.build_due()] == [None]
    shutil.rmtree(state)
    shutil.copytree(backup, state)
    head = speech.head()
    assert speech.due() == [KEY], "the plan has another digest than the history"
    error = speech.build(KEY)
    assert error is not None and "0000.json on the Hub is not in STATE_URL, which holds an old copy" in error
    with pytest.raises(PlanError, match="an old copy"):
        remove("en/c")
    settings = load()
    plan = open_plan(settings.plan, settings.r2)
    assert (speech.head(), plan.amendments()) == (head, [])
    plan.amend(REMOVE, [Target("en/c", ("en", 0))], "takedown", datetime.now(UTC))  # by a release before this check
    error = speech.build(KEY)
    assert error is not None and "is not the amendment in STATE_URL" in error
    assert speech.head() == head
