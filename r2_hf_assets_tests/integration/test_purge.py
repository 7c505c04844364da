"""`r2-hf purge`: the bytes of what was removed are nowhere on the Hub, and all else is as before."""

import importlib
import random
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
from dagster import DagsterInstance
from huggingface_hub import CommitOperationAdd, constants
from huggingface_hub.errors import RevisionNotFoundError

from r2_hf_assets import retry
from r2_hf_assets.amend import purge as purges
from r2_hf_assets.amend.purge import Purge
from r2_hf_assets.amend.remove import remove
from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.cli.in_process import refresh_card, renew_card
from r2_hf_assets.errors import AccessError, ForeignDataset, R2HfError
from r2_hf_assets.hub import commit as commits
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.runs.claim import claim_of
from r2_hf_assets.runs.history import recorded_digests
from r2_hf_assets.runs.progress import read_progress
from r2_hf_assets.runs.reconcile import examine
from r2_hf_assets.settings import load
from r2_hf_assets.shards.builds import open_builds
from r2_hf_assets_tests.cli.calls import call
from r2_hf_assets_tests.support.build_samples import NO_WAIT, entry, put_episode
from r2_hf_assets_tests.support.world import World, run_between

KEY, NEXT = "en|chunk_0000", "en|chunk_0001"
PIECE_BYTES = 48
hub_commit_module = importlib.import_module("r2_hf_assets.assets.hub_commit")


BOTH_WAYS = pytest.mark.parametrize("speech", ["Xet", "LFS"], indirect=True)


@pytest.fixture
def speech(request: pytest.FixtureRequest, in_process: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Two committed chunks of English, of three episodes and one, whose audio is in no other test's repo."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", getattr(request, "param", "Xet") == "LFS")
    monkeypatch.setattr(retry, "COMMIT_RETRY", NO_WAIT)
    for name in ("a", "b", "c", "d"):
        put_noise(in_process, name)
    assert in_process.scan() is None
    assert [run.error for run in in_process.build_due()] == [None, None]
    return in_process


def noise(world: World, episode: str, index: int) -> bytes:
    """Return the audio of a segment: incompressible, and of this world alone."""
    return random.Random(f"{world.bucket}:{episode}:{index}").randbytes(20_000)


def put_noise(world: World, name: str) -> None:
    put_episode(world.store(), f"en/{name}", [entry(0), entry(1)])
    for index in range(2):
        obstore.put(world.store(), f"processed/en/{name}/{name}_{index:06d}.mp3", noise(world, name, index))


def stored(world: World, name: str) -> float:
    """Return the part of an episode's audio, in pieces, that is in any file of the Hub's folder."""
    audio = [noise(world, name, index) for index in range(2)]
    pieces = [one[at : at + PIECE_BYTES] for one in audio for at in range(0, len(one), 400)]
    files = [path.read_bytes() for path in world.sandbox.hub.folder.rglob("*") if path.is_file()]
    return sum(any(piece in file for file in files) for piece in pieces) / len(pieces)


def take_down(world: World) -> None:
    remove(load(), ["en/b"], "takedown")
    assert [run.error for run in world.build_due()] == [None]


def purge(*, dry_run: bool = False) -> Purge:
    settings = load()
    with DagsterInstance.get() as instance:
        plan, builds = open_plan(settings.plan, settings.r2), open_builds(settings.plan, settings.r2)
        recorded = recorded_digests(instance, COMMIT, settings.dataset)
        return purges.purge(settings, claim_of(instance, plan, builds), recorded, dry_run=dry_run)


def status() -> Any:
    settings = load()
    with DagsterInstance.get() as instance:
        planned = open_plan(settings.plan, settings.r2).planned()
        return read_progress(instance, planned, settings.plan.languages, settings.dataset).languages


def revisions(world: World) -> list[str]:
    commits = world.api().list_repo_commits(world.repo_id, repo_type="dataset")
    return [commit.title for commit in commits]


def differences() -> list[Any]:
    with DagsterInstance.get() as instance:
        return examine(instance, load()).differences


def killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@BOTH_WAYS
def test_the_audio_of_a_removed_episode_is_gone_and_the_rest_stays(speech: World) -> None:
    take_down(speech)
    rows, before = speech.table(), status()
    assert stored(speech, "b") > 0.9, "old revisions hold it"
    plan = purge(dry_run=True)
    assert (plan.revisions, len(plan.files), plan.young, plan.holders) == (len(revisions(speech)) - 1, 2, 0, ())
    assert stored(speech, "b") > 0.9, "a dry run deletes nothing"

    done = purge()
    assert done == plan
    assert stored(speech, "b") == 0 and stored(speech, "a") > 0.9
    assert revisions(speech) == [f"Purge: one commit in place of {plan.revisions + 1}"]
    assert speech.table().equals(rows)
    assert (speech.due(), status(), differences()) == ([], before, [])
    again = purge()
    assert (again.revisions, again.files) == (0, ())

    put_noise(speech, "e")
    assert speech.scan() is None
    assert [run.error for run in speech.build_due()] == [None], "the next commit is on the new head"
    assert {key.split("/")[2] for key in speech.row_keys()} == set("acde")


@BOTH_WAYS
def test_a_tag_holds_it_until_it_is_deleted(speech: World, capfd: pytest.CaptureFixture[str]) -> None:
    speech.api().create_tag(speech.repo_id, tag="v1", repo_type="dataset")
    take_down(speech)
    speech.api().create_tag(speech.repo_id, tag="v2", repo_type="dataset")
    old = speech.api().list_repo_files(speech.repo_id, repo_type="dataset", revision="v1")
    first = call(capfd, "purge", "--yes", speech.repo_id)
    assert first.code == 0
    (line,) = first.stdout
    assert line.startswith("tag v1: 2 files, ")
    assert line.endswith(f"hf repos tag delete {speech.repo_id} v1 --type dataset")
    assert first.stderr[-1] == "1 ref that may hold what was removed: delete as shown above, then r2-hf purge again"
    assert stored(speech, "b") > 0.9, "the tag is whole"
    folder = speech.api().snapshot_download(
        speech.repo_id, repo_type="dataset", revision="v1", local_dir=speech.folder / "v1"
    )
    assert all((Path(folder) / path).exists() for path in old)
    speech.api().delete_tag(speech.repo_id, tag="v1", repo_type="dataset")
    second = call(capfd, "purge", "--yes", speech.repo_id)
    assert (second.code, second.stdout) == (0, [])
    assert stored(speech, "b") == 0 and stored(speech, "a") > 0.9


def test_a_pull_request_that_copies_it_is_named(speech: World, capfd: pytest.CaptureFixture[str]) -> None:
    add = [CommitOperationAdd("note.txt", b"n")]
    speech.api().create_commit(speech.repo_id, add, commit_message="n", repo_type="dataset", create_pr=True)
    take_down(speech)
    (line,) = call(capfd, "purge").stdout
    assert line.startswith("pull request 1: 2 files, ") and line.endswith(f"/datasets/{speech.repo_id}/discussions/1")


@pytest.mark.parametrize("where", ["squash_history", "delete_lfs_files"])
def test_a_killed_purge_is_completed_by_the_next(speech: World, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    take_down(speech)
    with monkeypatch.context() as patch:
        patch.setattr(purges, where, killed)
        with pytest.raises(KeyboardInterrupt):
            purge()
    assert len(revisions(speech)) == 1 or where == "squash_history"
    assert stored(speech, "b") > 0.9
    assert (speech.due(), differences()) == ([], [])
    purge()
    assert stored(speech, "b") == 0 and len(revisions(speech)) == 1


@pytest.mark.parametrize("path", ["/super-squash/", "/lfs-files/batch$"])
def test_a_lost_response_is_repeated(speech: World, path: str) -> None:
    take_down(speech)
    speech.sandbox.hub.inject({"path_regex": path, "status": 504, "after": True})
    purge()
    assert stored(speech, "b") == 0 and len(revisions(speech)) == 1


def test_a_deletion_that_is_refused_says_what_was_done(speech: World) -> None:
    take_down(speech)
    speech.sandbox.hub.inject({"path_regex": "/lfs-files/batch$", "status": 403})
    with pytest.raises(AccessError, match=r"^main is squashed, and the deletion is not complete \(.*lacks a right"):
        purge()
    assert len(revisions(speech)) == 1
    purge()
    assert stored(speech, "b") == 0


@pytest.mark.parametrize("when", ["squash_history", "delete_lfs_files"])
def test_a_chunk_committed_meanwhile_is_whole(speech: World, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Its content is young when the purge lists it, and its commit comes right before the squash or the deletion."""
    take_down(speech)
    put_noise(speech, "e")
    assert speech.scan() is None
    run_between(monkeypatch, purges, when, lambda: [run.error for run in speech.build_due()])
    purge()
    assert speech.due() == [] and differences() == []
    assert {key.split("/")[2] for key in speech.row_keys()} == set("acde")
    assert stored(speech, "e") > 0.9 and stored(speech, "b") == 0


@pytest.mark.parametrize(
    ("where", "name"),
    [(commits, "files_of_chunk"), (HubClient, "commit"), (hub_commit_module, "check_on_hub")],
)
def test_a_squash_during_a_commit_does_not_fail_the_run(
    speech: World, monkeypatch: pytest.MonkeyPatch, where: Any, name: str
) -> None:
    """The head that the run read, or its own commit, is gone; its content stays, for the build record names it."""
    take_down(speech)
    monkeypatch.setattr(purges, "YOUNG", timedelta(0))
    put_noise(speech, "e")
    assert speech.scan() is None
    run_between(monkeypatch, where, name, purge)
    assert [run.error for run in speech.build_due()] == [None]
    assert stored(speech, "e") > 0.9 and stored(speech, "b") == 0
    assert (speech.due(), differences()) == ([], [])


def test_a_run_whose_content_was_deleted_builds_again(speech: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No record names the content, and it counts as old: the commit is refused, and the next run uploads it again."""
    monkeypatch.setattr(purges, "YOUNG", timedelta(0))
    put_noise(speech, "e")
    assert speech.scan() is None
    builds = speech.folder / "dagster_home/r2_hf_assets/state/builds"

    def purge_without_records() -> None:
        shutil.move(builds, speech.folder / "builds")
        purge()
        shutil.move(speech.folder / "builds", builds)

    run_between(monkeypatch, HubClient, "commit", purge_without_records)
    (run,) = speech.build_due()
    assert run.error is not None and "run again to rebuild it" in run.error
    assert speech.due() != []
    # hf_xet keeps a cache of what it uploaded, in its folder.
    monkeypatch.setenv("HF_HOME", str(speech.folder / "other_home"))
    assert [run.error for run in speech.build_due()] == [None]
    assert stored(speech, "e") > 0.9


def test_the_card_names_the_new_revision(speech: World, capfd: pytest.CaptureFixture[str]) -> None:
    with DagsterInstance.get() as instance:
        assert renew_card(instance) is None
    assert not [title for title in revisions(speech) if "card" in title], "there was none, so none is made"
    take_down(speech)
    with DagsterInstance.get() as instance:
        assert refresh_card(instance) is None
    assert call(capfd, "purge", "--yes", speech.repo_id).code == 0
    titles = revisions(speech)
    assert len(titles) == 2 and titles[0].startswith("Update the card: ")
    api = speech.api()
    with speech.dataset_folder() as folder:
        card = (folder / "README.md").read_text()
    named = card.partition("/tree/")[2].partition(")")[0]
    squashed = api.list_repo_commits(speech.repo_id, repo_type="dataset")[1].commit_id
    assert named == squashed and api.dataset_info(speech.repo_id, revision=named).sha == squashed


def test_a_revision_from_before_is_gone(speech: World) -> None:
    old = speech.head()
    take_down(speech)
    purge()
    with pytest.raises(RevisionNotFoundError):
        speech.api().dataset_info(speech.repo_id, revision=old)


def test_it_is_refused_while_removals_are_due(speech: World, capfd: pytest.CaptureFixture[str]) -> None:
    remove(load(), ["en/b"], "takedown")
    head = speech.head()
    for arguments in ([], ["--yes", speech.repo_id]):
        refused = call(capfd, "purge", *arguments)
        assert (refused.code, refused.stdout) == (1, [])
        assert refused.stderr == [
            f"r2-hf: 1 chunk from which something was removed must be built again first, as {speech.repo_id} still has "
            "it: run r2-hf process; nothing was purged"
        ]
    assert speech.head() == head and stored(speech, "b") > 0.9


def test_another_name_is_wrong_usage(speech: World, capfd: pytest.CaptureFixture[str]) -> None:
    take_down(speech)
    head = speech.head()
    refused = call(capfd, "purge", "--yes", "me/other")
    assert (refused.code, refused.stdout) == (2, [])
    assert refused.stderr[0].startswith(f"r2-hf: --yes me/other: HF_REPO_ID is {speech.repo_id}; nothing was done")
    assert speech.head() == head and stored(speech, "b") > 0.9


def test_a_list_that_lacks_a_file_in_use_deletes_nothing(speech: World) -> None:
    take_down(speech)
    head = speech.head()
    stranger = {"fileOid": "cd" * 32, "oid": "cd" * 32, "size": 1, "pushedAt": "2026-01-01T00:00:00.000Z"}
    speech.sandbox.hub.inject({"path_regex": "/lfs-files$", "status": 200, "body": [stranger], "times": 2})
    with pytest.raises(R2HfError, match=r"lacks 4 that are in use, e\.g\. .* of branch main.* nothing is deleted"):
        purge()
    assert speech.head() == head and stored(speech, "b") > 0.9


def test_a_reader_another_plan_and_an_absent_repo_are_refused(
    speech: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    take_down(speech)
    head = speech.head()
    with monkeypatch.context() as patch:
        patch.setenv("HF_TOKEN", speech.sandbox.hub.read_token)
        with pytest.raises(AccessError, match="the token lacks a right"):
            purge()
    with monkeypatch.context() as patch:
        patch.setenv("HF_REPO_ID", f"{speech.repo_id}-none")
        with pytest.raises(AccessError, match="there is no "):
            purge()
    with monkeypatch.context() as patch:
        patch.setenv("STATE_URL", str(tmp_path / "other"))
        other = load()
        open_plan(other.plan, other.r2).check_identity()
        with pytest.raises(ForeignDataset):
            purge()
    assert speech.head() == head and stored(speech, "b") > 0.9
