"""The demo: the main job as a user runs it, on a sandbox, and what the dataset holds afterwards.

    sandbox up -> sample episodes -> r2-hf scan -> r2-hf process -> r2-hf status -> rows by language -> sandbox down

The commands run in processes of their own, with a Dagster instance in the sandbox's folder. With `keep` the sandbox
stays up, and a .env in the working folder points `dagster dev` and `dagster asset materialize` at it.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from r2_hf_sandbox.processes import SandboxError
from r2_hf_sandbox.samples.bucket import upload_samples
from r2_hf_sandbox.sandbox import Sandbox, start_sandbox
from r2_hf_sandbox.state import read_state, state_of, write_state

_ROOT = Path(__file__).parents[1]
_SEED = 7
_EPISODES_PER_CHUNK = 4
_ENV_FILE = Path(".env")
_FIRST_LINE = "# Written by `make demo KEEP=1`; `make demo-down` removes it.\n"
_NEXT_STEPS = """The sandbox stays up, and .env points at it. Continue with

  . .venv/bin/activate; export DAGSTER_MODULE_NAME=r2_hf_assets.definitions
  dagster dev
  dagster asset materialize --select parquet_shards,hub_commit --partition 'en|chunk_0000'
  make demo-down
"""


def demo(folder: Path, *, keep: bool) -> int:
    """Run the demo and print what it does.

    Args:
        folder: holds the files of the sandbox and the instance; removed afterwards unless `keep`.

    Raises:
        SandboxError: the demo can't run, or a command failed.
    """
    state = read_state(folder)
    if state and any(state.alive().values()):
        raise SandboxError("an earlier demo is still up: `make demo-down` stops it")
    if keep and _ENV_FILE.exists() and not _is_ours(_ENV_FILE):
        raise SandboxError(".env exists and is not the demo's: move it away, it would be overwritten")
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    complete = False
    sandbox = start_sandbox(folder, detach=keep)
    try:
        write_state(folder, state_of(sandbox))
        _print(f"S3 server at {sandbox.s3.endpoint_url}, Hub at {sandbox.hub.endpoint}")
        summary = upload_samples(sandbox.s3, sandbox.bucket, seed=_SEED, awkward=True, expect=False)
        _print(f"{summary.episodes} sample episodes with {summary.segments} segments in bucket {sandbox.bucket!r}")
        env = _environment(sandbox, folder)
        for command in ("scan", "process", "status"):
            _run(command, env)
        _report(sandbox)
        if keep:
            _ENV_FILE.touch(mode=0o600)
            _ENV_FILE.write_text(_FIRST_LINE + "".join(f"{name}={value}\n" for name, value in env.items()))
            _print(_NEXT_STEPS)
        complete = True
    finally:
        if not (keep and complete):
            sandbox.stop()
            shutil.rmtree(folder, ignore_errors=True)
    _print(f"done in {time.monotonic() - started:.0f} s")
    return 0


def demo_down(folder: Path) -> int:
    """Stop the sandbox of a demo with `keep`, and remove its files and its .env."""
    if state := read_state(folder):
        state.stop()
    shutil.rmtree(folder, ignore_errors=True)
    if _is_ours(_ENV_FILE):
        _ENV_FILE.unlink()
    return 0


def _is_ours(env_file: Path) -> bool:
    return env_file.exists() and env_file.read_text().startswith(_FIRST_LINE)


def _environment(sandbox: Sandbox, folder: Path) -> dict[str, str]:
    home = folder / "dagster_home"
    home.mkdir()
    shutil.copy(_ROOT / "dagster.yaml", home)
    return {
        **sandbox.env(),
        "EPISODES_PER_CHUNK": str(_EPISODES_PER_CHUNK),
        "SETTLE_MINUTES": "0",  # no upload is still going on
        "DAGSTER_HOME": str(home),
        "DAGSTER_MODULE_NAME": "",  # set in the shell, it would reach the processes of `dagster dev` and stop them
    }


def _run(command: str, env: dict[str, str]) -> None:
    _print(f"\n$ r2-hf {command}")
    program = [sys.executable, "-m", "r2_hf_assets.cli", command]
    if code := subprocess.run(program, env={**os.environ, **env}, check=False).returncode:
        raise SandboxError(f"r2-hf {command} ended with exit code {code}")


def _report(sandbox: Sandbox) -> None:
    """Print the files, rows and hours of each language, read from the Hub."""
    import pyarrow.compute as pc
    from huggingface_hub import HfFileSystem

    hub = HfFileSystem(endpoint=sandbox.hub.endpoint, token=sandbox.hub.token)
    root = f"datasets/{sandbox.repo_id}/data"
    _print(f"\n{sandbox.hub.endpoint}/datasets/{sandbox.repo_id} now holds\n")
    _print(f"  {'language':10}{'files':>6}{'rows':>8}{'hours':>9}")
    for language in sorted(Path(str(path)).name for path in hub.ls(root, detail=False)):
        files = hub.ls(f"{root}/{language}", detail=False)
        seconds = [_column(hub, str(file), "duration_seconds") for file in files]
        rows = sum(len(column) for column in seconds)
        hours = sum(pc.sum(column).as_py() or 0.0 for column in seconds) / 3600
        _print(f"  {language:10}{len(files):>6}{rows:>8}{hours:>9.3f}")
    _print("\nOpen it with\n")
    _print("  from datasets import load_dataset")
    _print(f'  load_dataset("{sandbox.repo_id}", split="train")')
    _print(f'  load_dataset("{sandbox.repo_id}", "en", split="train")')
    _print(f"\n(here with HF_ENDPOINT={sandbox.hub.endpoint} in the environment)\n")


def _column(hub: Any, path: str, name: str) -> Any:
    """Return a column of a Parquet file on the Hub, read without Arrow's threads.

    A thread that still holds a Python file when the interpreter exits aborts the process.
    """
    import pyarrow.parquet as pq

    with hub.open(path, "rb") as file, pq.ParquetFile(file, pre_buffer=False) as parquet:
        return parquet.read([name], use_threads=False)[0]


def _print(line: str) -> None:
    print(line, flush=True)
