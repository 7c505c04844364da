"""A dataset to release, releases of it, and what is on the Hub then."""

from datetime import UTC, datetime
from typing import Any

import pytest
from dagster import DagsterInstance
from huggingface_hub import CommitOperationAdd

from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.releases import Tagged
from r2_hf_assets.runs.release import release
from r2_hf_assets.settings import load
from r2_hf_assets_tests.cli.calls import CallResult, call
from r2_hf_assets_tests.support.build_samples import put_episode
from r2_hf_assets_tests.support.world import World

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
LATER = datetime(2026, 12, 24, 12, 0, tzinfo=UTC)


def commit_speech(world: World) -> None:
    """Commit two chunks of English, of three episodes and one, and one of German."""
    for name in ("a", "b", "c", "d"):
        put_episode(world.store(), f"en/{name}", 4)
    put_episode(world.store(), "de/a", 2)
    assert world.scan() is None
    build(world)


def build(world: World) -> None:
    assert not any(run.error for run in world.build_due())


def make(tag: str, note: str = "", now: datetime = NOW, **options: Any) -> Tagged:
    with DagsterInstance.get() as instance:
        return release(instance, load(), tag, note, now, **options)


def refused(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    done = call(capfd, "release", *words)
    assert (done.code, done.stdout, len(done.stderr)) == (1, [], 1), done
    return done.stderr[0]


def readme(world: World, revision: str = "main") -> str:
    repo = HubClient(load().hub)
    return (repo.read("README.md", revision) or b"").decode()


def tags(world: World) -> dict[str, str]:
    refs = world.api().list_repo_refs(world.repo_id, repo_type="dataset")
    return {tag.name: tag.target_commit for tag in refs.tags}


def titles(world: World) -> list[str]:
    return [commit.title for commit in world.api().list_repo_commits(world.repo_id, repo_type="dataset")]


def remove(capfd: pytest.CaptureFixture[str], *words: str) -> CallResult:
    done = call(capfd, "remove", *words, "--reason", "private")
    assert done.code == 0, done.stderr
    return done


def commit_file(world: World, path: str, content: bytes) -> None:
    add = [CommitOperationAdd(path, content)]
    world.api().create_commit(world.repo_id, add, commit_message="by hand", repo_type="dataset")
