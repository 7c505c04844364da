"""The demo: the main job as a user runs it, on a sandbox, with what came out of it.

    sandbox up -> sample episodes -> work_plan -> every due partition -> what the dataset repo holds -> sandbox down

Runs go through the real definitions into a real instance in the sandbox's folder. With `keep` the sandbox stays up and
a .env in the working folder points `dagster dev` and `dagster asset materialize` at it.
"""

import os
import shutil
import time
from pathlib import Path
from typing import Any

from r2_hf_sandbox.samples.bucket import upload_samples
from r2_hf_sandbox.sandbox import Sandbox, start_sandbox
from r2_hf_sandbox.state import end, read_state, state_of, write_state

_SEED = 7
_EPISODES_PER_CHUNK = 4
_ENV_FILE = Path(".env")
_FIRST_LINE = "# Written by `make demo KEEP=1`; `make demo-down` removes it.\n"


class DemoError(Exception):
    """The demo can't run, or the job did not do what it should; one line."""


def demo(folder: Path, *, keep: bool) -> int:
    """Run the demo and print what it does.

    Args:
        folder: where the sandbox and the instance keep their files; gone afterwards unless `keep`.

    Raises:
        DemoError: with one line that says why.
    """
    state = read_state(folder)
    if state and any(state.alive().values()):
        raise DemoError("an earlier demo is still up: `make demo-down` stops it")
    if keep and _ENV_FILE.exists() and not _is_ours(_ENV_FILE):
        raise DemoError(".env exists and is not the demo's: move it away, it would be overwritten")
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    kept = False
    sandbox = start_sandbox(folder, detach=keep)
    try:
        write_state(folder, state_of(sandbox, None))
        _say(f"S3 server at {sandbox.s3.endpoint_url}, Hub at {sandbox.hub.endpoint}")
        summary = upload_samples(sandbox.s3, sandbox.bucket, seed=_SEED, awkward=True, expect=False)
        _say(f"{summary.episodes} sample episodes with {summary.segments} segments in bucket {sandbox.bucket!r}")
        environment = _environment(sandbox, folder)
        os.environ.update(environment)
        _run_job()
        _report(sandbox)
        if keep:
            _ENV_FILE.touch(mode=0o600)
            _ENV_FILE.write_text(_FIRST_LINE + "".join(f"{name}={value}\n" for name, value in environment.items()))
            _say_how_to_go_on()
            kept = True
    finally:
        if not kept:
            sandbox.stop()
            shutil.rmtree(folder, ignore_errors=True)
    _say(f"done in {time.monotonic() - started:.0f} s")
    return 0


def demo_down(folder: Path) -> int:
    """Stop what `demo` with `keep` left up, and remove its files and its .env."""
    if state := read_state(folder):
        end(state)
    shutil.rmtree(folder, ignore_errors=True)
    if _is_ours(_ENV_FILE):
        _ENV_FILE.unlink()
    return 0


def _is_ours(env_file: Path) -> bool:
    return env_file.exists() and env_file.read_text().startswith(_FIRST_LINE)


def _environment(sandbox: Sandbox, home: Path) -> dict[str, str]:
    """Everything the job reads, an instance of its own included."""
    dagster_home = home / "dagster_home"
    dagster_home.mkdir(exist_ok=True)
    template = Path(__file__).parents[1] / "dagster.yaml"
    if template.exists():  # an installed package has none, and Dagster's defaults do
        shutil.copy(template, dagster_home)
    return {
        **sandbox.env(),
        "EPISODES_PER_CHUNK": str(_EPISODES_PER_CHUNK),
        "SETTLE_MINUTES": "0",  # the awkward samples are as awkward as they will ever be
        "DAGSTER_HOME": str(dagster_home),
        "DAGSTER_MODULE_NAME": "",  # set in the shell, it would reach the processes of `dagster dev` and stop them
    }


def _run_job() -> None:
    """work_plan and every due partition, each a run in the demo's own instance."""
    # Dagster is imported late: it reads DAGSTER_HOME, and the sandbox itself does without it.
    from dagster import DagsterInstance  # noqa: TID251

    from r2_hf_assets.cli.in_process import due_chunks, refresh_card, run_chunks, run_scan

    with DagsterInstance.get() as instance:
        _say("a Dagster instance of the demo's own: what it records goes with it")
        _check(run_scan(instance))
        chunks = due_chunks(instance)
        _say(f"work_plan: {len(chunks)} partitions to build")
        for run in run_chunks(instance, chunks):
            _check(run.error)
            _say(f"  {run.key}: {run.chunk.episodes} episodes built and committed")
        _check(refresh_card(instance))
        _say("dataset_card: README.md tells of all this")
        if left := due_chunks(instance):
            raise DemoError(f"{len(left)} partitions are still due after all of them succeeded")


def _check(error: str | None) -> None:
    if error:
        raise DemoError(error)


def _column(hub: Any, path: str, name: str) -> Any:
    """A column of a Parquet file on the Hub, read without Arrow's threads: one that still holds a Python file when the
    interpreter ends aborts the process."""
    import pyarrow.parquet as pq

    with hub.open(path, "rb") as file, pq.ParquetFile(file, pre_buffer=False) as parquet:
        return parquet.read([name], use_threads=False)[0]


def _report(sandbox: Sandbox) -> None:
    """What the dataset repo holds, read back from the Hub: files, rows and hours a language."""
    import pyarrow.compute as pc
    from huggingface_hub import HfFileSystem

    hub = HfFileSystem(endpoint=sandbox.hub.endpoint, token=sandbox.hub.token)
    root = f"datasets/{sandbox.repo_id}/data"
    _say(f"\n{sandbox.hub.endpoint}/datasets/{sandbox.repo_id} now holds\n")
    _say(f"  {'language':10}{'files':>6}{'rows':>8}{'hours':>9}")
    for language in sorted(Path(str(path)).name for path in hub.ls(root, detail=False)):
        files = hub.ls(f"{root}/{language}", detail=False)
        seconds = [_column(hub, str(file), "duration_seconds") for file in files]
        rows = sum(len(column) for column in seconds)
        hours = sum(pc.sum(column).as_py() or 0.0 for column in seconds) / 3600
        _say(f"  {language:10}{len(files):>6}{rows:>8}{hours:>9.3f}")
    _say("\nOpen it with\n")
    _say("  from datasets import load_dataset")
    _say(f'  load_dataset("{sandbox.repo_id}", split="train")')
    _say(f'  load_dataset("{sandbox.repo_id}", "en", split="train")')
    _say(f"\n(here with HF_ENDPOINT={sandbox.hub.endpoint} in the environment)\n")


def _say_how_to_go_on() -> None:
    _say("The sandbox stays up, and .env points at it. Go on with\n")
    _say("  . .venv/bin/activate; export DAGSTER_MODULE_NAME=r2_hf_assets.definitions")
    _say("  dagster dev")
    _say("  dagster asset materialize --select parquet_shards,hub_commit --partition 'en|chunk_0000'")
    _say("  make demo-down\n")


def _say(line: str) -> None:
    print(line, flush=True)
