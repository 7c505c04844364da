"""The demo: the main job as a user runs it, on a sandbox, and what the dataset holds afterwards.

    sandbox up -> sample episodes -> r2-hf scan -> r2-hf process -> r2-hf status -> rows by language -> sandbox down

The commands run in processes of their own, in the sandbox's folder, where no .env of the user overrides its settings.
With `keep` the sandbox stays up, and a .env in the working folder points all commands at it.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from r2_hf_sandbox.processes import SandboxError
from r2_hf_sandbox.project import project_env
from r2_hf_sandbox.samples.bucket import upload_samples
from r2_hf_sandbox.sandbox import Sandbox, start_sandbox
from r2_hf_sandbox.state import STATE_FILE, env_lines, read_state, state_of, write_state

_SEED = 7
_ENV_FILE = Path(".env")
_FIRST_LINE = "# Written by `make demo KEEP=1`; `make demo-down` removes it.\n"
_NEXT_STEPS = """The sandbox stays up, and .env points at it. Try it with docs/guide.md:

  . .venv/bin/activate
  r2-hf sandbox add-episodes 20
  r2-hf scan
  r2-hf process
  make demo-down
"""


def demo(folder: Path, *, keep: bool) -> None:
    """Run the demo and print what it does.

    Args:
        folder: holds the files of the sandbox and the instance; removed afterwards unless `keep`.

    Raises:
        SandboxError: the demo can't run, or a command failed.
    """
    state = read_state(folder)
    if state and any(state.alive().values()):
        raise SandboxError(f"a sandbox is up in {folder}: `make demo-down` stops it, and removes its files")
    if keep and _ENV_FILE.exists() and not _is_ours(_ENV_FILE):
        raise SandboxError(".env exists and is not the demo's: move it away, it would be overwritten")
    started = time.monotonic()
    _remove(folder)
    complete = False
    sandbox = start_sandbox(folder, detach=keep, slow_line=True)
    try:
        env = project_env(sandbox)
        write_state(folder, state_of(sandbox, env))
        _print(f"S3 server at {sandbox.s3.endpoint_url}, Hub at {sandbox.hub.endpoint}")
        summary = upload_samples(sandbox.s3, sandbox.bucket, seed=_SEED, awkward=True, expect=False)
        _print(f"{summary.episodes} sample episodes with {summary.segments} segments in bucket {sandbox.bucket!r}")
        for command in ("scan", "process", "status"):
            run_command(command, env, folder)
        _report(sandbox)
        if keep:
            _ENV_FILE.touch(mode=0o600)
            _ENV_FILE.write_text(_FIRST_LINE + "".join(env_lines(env)))
            _print(_NEXT_STEPS)
        complete = True
    finally:
        if not (keep and complete):
            sandbox.stop()
            shutil.rmtree(folder, ignore_errors=True)
    _print(f"done in {time.monotonic() - started:.0f} s")


def demo_down(folder: Path) -> None:
    """Stop the sandbox of a demo with `keep`, and remove its files and its .env."""
    if state := read_state(folder):
        state.stop()
    _remove(folder)
    if _is_ours(_ENV_FILE):
        _ENV_FILE.unlink()


def _remove(folder: Path) -> None:
    """Remove a sandbox's folder; SandboxError for one with other files."""
    if folder.exists() and not (folder / STATE_FILE).exists() and any(folder.iterdir()):
        raise SandboxError(f"{folder} has no {STATE_FILE}, so it is kept: name another --folder, or remove it yourself")
    shutil.rmtree(folder, ignore_errors=True)


def _is_ours(env_file: Path) -> bool:
    return env_file.exists() and env_file.read_text().startswith(_FIRST_LINE)


def run_command(command: str, env: dict[str, str], folder: Path) -> None:
    """Run `r2-hf` in `folder`; SandboxError when it fails."""
    _print(f"\n$ r2-hf {command}")
    program = [sys.executable, "-m", "r2_hf_assets.cli", command]
    if code := subprocess.run(program, env={**os.environ, **env}, cwd=folder, check=False).returncode:
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
