"""One sandbox a test process; one world a test, with a bucket, a dataset repo and a DAGSTER_HOME of its own.

Slow tests begin first, so that none is left alone at the end. Tests that share a fixture of their module run in one
process, so that it is made once.
"""

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from xdist.scheduler.loadgroup import LoadGroupScheduling

import r2_hf_assets_tests.support.shell  # noqa: F401 - first
from r2_hf_assets.runs.databases import read_migrations_once
from r2_hf_assets_tests.support.engines import keep_engines
from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox.sandbox import Sandbox, start_sandbox

# Before huggingface_hub is imported: no test uses a user's cache or token, or requests anything from the real Hub.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
read_migrations_once()
keep_engines()

# Valid settings, for tests that connect to nothing.
REQUIRED = {
    "R2_ENDPOINT_URL": "http://127.0.0.1:9",
    "R2_ACCESS_KEY_ID": "key-id",
    "R2_SECRET_ACCESS_KEY": "secret",
    "R2_BUCKET": "podcasts",
    "HF_REPO_ID": "me/speech",
    "HF_TOKEN": "hf_token",
}


class _ByModule(LoadGroupScheduling):
    """Groups by module: xdist 3.8 finds no group with pytest 9, because it changes an attribute that is gone."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if _shares_a_fixture(self.config.rootpath / module) else nodeid


@cache
def _shares_a_fixture(module: Path) -> bool:
    return re.search('scope="module"|xdist_group', module.read_text()) is not None


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _ByModule:
    return _ByModule(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True, scope="session")
def hub_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep uploads out of the user's cache. (hf_xet reads HF_HOME when it is first used.)"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf_home")))
        yield


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """A real S3 server, and a local Hub with the real one's protocol."""
    with start_sandbox() as running:
        yield running


@pytest.fixture
def world(sandbox: Sandbox, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """An empty bucket, a repo that does not exist yet and an empty, persistent instance."""
    yield World.make(sandbox, tmp_path, request.node.name)
    sandbox.hub.clear_faults()  # of a test that failed: the next one uses the same Hub


@pytest.fixture
def in_process(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world, with its variables in this process's environment."""
    for name, value in world.env.items():
        monkeypatch.setenv(name, value)
    return world


@pytest.fixture
def done(in_process: World) -> World:
    """A world with two committed chunks."""
    in_process.upload(episodes={"en": 4}, segments=(2, 2), seconds=(0.3, 0.4))
    assert in_process.scan() is None
    assert [run.error for run in in_process.build_due()] == [None, None]
    return in_process
