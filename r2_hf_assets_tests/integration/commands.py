"""Real `dagster` commands as processes that start at the same moment or are sent a signal.

Imports take seconds and differ between processes, so a command imports everything, waits for a line on its standard
input, and then runs Dagster's own main with its arguments.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from r2_hf_assets_tests.support.world import World

MATERIALIZE = ("asset", "materialize", "--select")
BOTH = (*MATERIALIZE, "parquet_shards,hub_commit", "--partition")
PATIENCE_S = 120.0


@contextmanager
def command(world: World, *arguments: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """`dagster ARGUMENTS` in its own session, waiting for `go`; killed at the end if it still runs."""
    env = {**world.command_env(), **world.env, **more}
    with (world.folder / "commands.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, *arguments],
            cwd=world.folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def go(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Start all commands at once, when all have imported everything."""
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def log(world: World) -> str:
    """Return the commands' standard error."""
    return (world.folder / "commands.log").read_text()


if __name__ == "__main__":
    from dagster._cli import main

    import r2_hf_assets.definitions  # noqa: F401

    print("ready", flush=True)
    sys.stdin.readline()
    main()
