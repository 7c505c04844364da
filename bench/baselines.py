"""Commands that users type: `s5cmd cp` and `hf upload`, with which the product is compared, and its own."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.errors import NotInstalled

BIN = Path(sys.executable).parent
REPO_ID = "sandbox/podcasts"


def command(name: str) -> str:
    """Path of a baseline's command, beside this Python or on PATH. Raises NotInstalled."""
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        raise NotInstalled(name)
    return found


def installed(name: str) -> bool:
    try:
        return bool(command(name))
    except NotInstalled:
        return False


def missing(name: str) -> str:
    """What a row says that can't be measured without this command."""
    return f"baseline not installed ({name}): make bench"


def download(endpoint: str, bucket: str) -> Sequence[str]:
    """Copies all episodes into ./objects; the credentials are read from AWS_* (see `Arena.place`)."""
    return [command("s5cmd"), "--endpoint-url", endpoint, "cp", f"s3://{bucket}/processed/*", "objects/"]


def upload(folder: Path) -> Sequence[str]:
    """Uploads finished Parquet files to HF_ENDPOINT."""
    return [command("hf"), "upload", REPO_ID, str(folder), "data", "--repo-type", "dataset"]


def materialize() -> Sequence[str]:
    """Builds and commits the first chunk of English: ours, as a process of its own."""
    return [
        *(command("dagster"), "asset", "materialize", "-m", "r2_hf_assets.definitions"),
        *("--select", "parquet_shards,hub_commit", "--partition", "en|chunk_0000"),
    ]
