"""The project's .env on a sandbox, and the DAGSTER_HOME that it names."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from r2_hf_sandbox.processes import SandboxError
from r2_hf_sandbox.sandbox import Sandbox

_TEMPLATE = Path(__file__).parents[1] / "dagster.yaml"
_SETTINGS = {
    "EPISODES_PER_CHUNK": "4",
    "PARQUET_ROWGROUP_BYTES": "1048576",  # a progress bar advances with each row group
    "SETTLE_MINUTES": "0",  # no upload is still going on
    "DAGSTER_MODULE_NAME": "",  # set in the shell, it would reach the processes of `dagster dev` and stop them
}


def project_env(sandbox: Sandbox) -> dict[str, str]:
    """Return all variables of a .env, and create the DAGSTER_HOME in the sandbox's folder."""
    home = sandbox.folder / "dagster_home"
    _make_home(home)
    return {**sandbox.env(), **_SETTINGS, "DAGSTER_HOME": str(home)}


def _make_home(home: Path) -> None:
    """Create the folder, its dagster.yaml and its database, as `make home` does."""
    home.mkdir(exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copy(_TEMPLATE, home)
    if not (home / "history").is_dir():
        command = [sys.executable, "-m", "dagster", "instance", "migrate"]
        env = {**os.environ, "DAGSTER_HOME": str(home)}
        migrated = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False)
        if migrated.returncode:
            raise SandboxError(f"the DAGSTER_HOME {home} can't be created:\n{migrated.stderr.strip()}")
