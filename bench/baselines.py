"""Commands of users: `s5cmd cp` and `hf upload`, the baselines, and the product's own."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

BIN = Path(sys.executable).parent
REPO_ID = "sandbox/podcasts"


def command(name: str) -> str:
    """Return the path of a command beside this Python or on PATH, or its name if it is not installed."""
    return shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}") or name


def missing(name: str) -> str:
    """Return a row's message about a command that is not installed, else an empty one."""
    return "" if Path(command(name)).is_absolute() else f"baseline not installed ({name}): make bench"


def download(endpoint: str, bucket: str) -> Sequence[str]:
    """Copy all episodes into ./objects, with the credentials in AWS_* (see `Testbed.workspace`)."""
    return [command("s5cmd"), "--endpoint-url", endpoint, "cp", f"s3://{bucket}/processed/*", "objects/"]


def upload(folder: Path) -> Sequence[str]:
    """Upload Parquet files to HF_ENDPOINT."""
    return [command("hf"), "upload", REPO_ID, str(folder), "data", "--repo-type", "dataset"]


def materialize() -> Sequence[str]:
    """Build and commit the first English chunk, with ours, as a process of its own."""
    return [
        *(command("dagster"), "asset", "materialize", "-m", "r2_hf_assets.definitions"),
        *("--select", "parquet_shards,hub_commit", "--partition", "en|chunk_0000"),
    ]
