"""One S3 server and one Hub for all contract tests of a worker, and clients with their own caches.

Every test has its own bucket or repository, so tests may run in any order and concurrently.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from r2_hf_assets_tests.contract.places import PLACES, Place, bucket_of, emptied, moto_place, own_place
from r2_hf_sandbox import HubServer, S3Server, start_hub, start_s3
from r2_hf_sandbox.hub.server import PACKAGE_ROOT

_numbers = itertools.count()
RunPython = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session", autouse=True)
def no_progress_bars() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        yield


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with start_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server) -> str:
    name = f"bucket-{next(_numbers)}"
    s3.create_bucket(name)
    return name


@pytest.fixture(scope="session", params=PLACES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Each of the buckets, with its server."""
    if request.param == "own":
        with own_place() as place:
            yield place
        return
    moto = request.param == "moto"
    folder = tmp_path_factory.mktemp("moto") if moto else None
    opened = moto_place(folder) if folder else bucket_of(request.getfixturevalue("s3"), request.param)
    with opened as bucket, emptied(bucket) as place:
        yield place


@pytest.fixture
def place(server: Place) -> Place:
    """The bucket with an empty prefix of this test's own."""
    return server.below(f"test-{next(_numbers)}")


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with start_hub(tmp_path_factory.mktemp("hub"), lfs_part_bytes=1_000_000) as server:
        yield server


@pytest.fixture
def api(hub: HubServer) -> Iterator[HfApi]:
    yield HfApi(endpoint=hub.endpoint, token=hub.token)
    hub.clear_faults()


@pytest.fixture
def repo(api: HfApi) -> str:
    repo_id = f"sandbox/repo-{next(_numbers)}"
    api.create_repo(repo_id, repo_type="dataset")
    return repo_id


@pytest.fixture
def run_python(tmp_path: Path) -> RunPython:
    """Run Python code in another process with these variables set. A non-zero exit fails the test."""

    def run(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT), "HF_HOME": str(tmp_path / "hf_home"), **variables}
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], env=env, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done

    return run
