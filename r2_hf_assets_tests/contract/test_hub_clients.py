"""The same chunk through every supported client: newest and 0.36, with Xet and without, and hf_transfer.

0.36 has a small environment of its own, installed from hub036.lock into .venv-hub036 beside .venv.
"""

import hashlib
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import filelock
import pytest

from r2_hf_assets_tests.support.world import ROOT
from r2_hf_sandbox.hub.server import start_hub

LOCK = Path(__file__).with_name("hub036.lock")
COMMIT = Path(__file__).with_name("commit_shards.py")
RELEASE = Path(__file__).with_name("release_and_purge.py")
# The largest file has three parts, so the multipart route is used.
PART_BYTES = 1_000_000


@pytest.fixture(scope="session")
def python036() -> Path:
    """Return an interpreter with huggingface_hub 0.36 and hf_transfer."""
    folder = ROOT / ".venv-hub036"
    stamp = folder / ".installed"
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    with filelock.FileLock(ROOT / ".venv-hub036.lock"):
        if not stamp.exists() or stamp.read_text() != digest:
            venv.create(folder, with_pip=True, clear=True)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", "--require-hashes"]
            subprocess.run([*pip, "-r", str(LOCK)], check=True, stdin=subprocess.DEVNULL)
            stamp.write_text(digest)
    return folder / "bin" / "python"


CLIENTS: dict[str, dict[str, Any]] = {
    "newest with Xet": {"python": "", "xet": True, "env": {}},
    "newest with Xet, fast": {"python": "", "xet": True, "env": {"HF_HUB_ENABLE_HF_TRANSFER": "1"}},
    "newest on a Hub without Xet": {"python": "", "xet": False, "env": {}},
    "newest without Xet": {"python": "", "xet": False, "env": {"HF_HUB_DISABLE_XET": "1"}},
    "0.36 with Xet": {"python": "036", "xet": True, "env": {}},
    "0.36 on a Hub without Xet": {"python": "036", "xet": False, "env": {}},
    "0.36 with hf_transfer": {
        "python": "036",
        "xet": False,
        "env": {"HF_HUB_ENABLE_HF_TRANSFER": "1", "HF_HUB_DISABLE_XET": "1"},
    },
}


@pytest.mark.parametrize("client", list(CLIENTS))
def test_a_chunk_is_committed_once_and_reads_back(client: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    options = CLIENTS[client]
    python = request.getfixturevalue("python036") if options["python"] else Path(sys.executable)
    with start_hub(tmp_path / "hub", lfs_part_bytes=PART_BYTES, xet=options["xet"]) as hub:
        env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        env |= {
            "HF_REPO_ID": f"{hub.user}/speech",
            "HF_TOKEN": hub.token,
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path / "hf_home"),
            "PYTHONPATH": str(ROOT),
            **options["env"],
        }
        done = subprocess.run(
            [str(python), str(COMMIT), str(tmp_path)], env=env, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        paths = [request["path"] for request in hub.requests()]
    assert result["version"].startswith("0.36" if options["python"] else "2")
    assert result["committed"] == [True, False, True, False]
    assert result["heads"] == 2
    assert result["read_back"] == result["built"] == result["written"]
    assert result["removed"] == ["data/en/chunk-00007-part-01.parquet", "data/en/chunk-00007-part-02.parquet"]
    over_xet = any(path.startswith("/cas/") or "/xorbs/" in path for path in paths)
    over_lfs = any(path.endswith("/info/lfs/objects/batch") for path in paths)
    assert (over_xet, over_lfs) == (options["xet"], not options["xet"])
    assert result["fast"] == ("HF_HUB_ENABLE_HF_TRANSFER" in options["env"])


@pytest.mark.parametrize("xet", [True, False], ids=["Xet", "LFS"])
def test_036_tags_squashes_and_deletes(python036: Path, xet: bool, tmp_path: Path) -> None:
    with start_hub(tmp_path / "hub", xet=xet) as hub:
        env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        env |= {"HF_REPO_ID": f"{hub.user}/speech", "HF_TOKEN": hub.token, "HF_ENDPOINT": hub.endpoint}
        env |= {"HF_HOME": str(tmp_path / "hf_home"), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [str(python036), str(RELEASE)], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        paths = [request["path"] for request in hub.requests()]
    assert json.loads(done.stdout) == {
        "refs": [["branch", "main"], ["tag", "v1"], ["pull_request", "1"]],
        "commits": {"v1": ["old", "initial commit"], "main": ["Release 2"]},
        "stored": [["new.parquet", "old.parquet"], ["new.parquet"]],
        "new": True,
    }
    assert any("/xorbs/" in path for path in paths) == xet


# Routes that accept a request and never respond: of the head, and of a part.
STALLED = {"head": "/revision/main$", "upload": "/_lfs/.*/1$"}


@pytest.mark.parametrize("route", list(STALLED))
def test_036_exhausts_its_retries_of_a_stalled_hub(python036: Path, route: str, tmp_path: Path) -> None:
    """Its HTTP client is requests, and hf_transfer has no timeout."""
    with start_hub(tmp_path / "hub", lfs_part_bytes=PART_BYTES, xet=False) as hub:
        hub.inject({"path_regex": STALLED[route], "silence": "read", "times": 1000})
        env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        env |= {"HF_REPO_ID": f"{hub.user}/speech", "HF_TOKEN": hub.token, "HF_ENDPOINT": hub.endpoint}
        env |= {"HF_HUB_ENABLE_HF_TRANSFER": "1", "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "hf_home")}
        done = subprocess.run(
            [str(python036), str(COMMIT), str(tmp_path), "0.5"],
            env={**env, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert "still failing after 2 attempts; a later run will try again" in done.stderr, done.stderr
