"""Real `dagster` commands in processes of their own: several at the same moment, and one that is held to be signalled.

Imports take seconds and differ between processes, so a command that is to meet another waits, everything imported, for
a line on its standard input; then it runs Dagster's own main with the arguments it was given.
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
    """`dagster ARGUMENTS` in a session of its own, waiting for `go`; killed at the end if it still runs."""
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
    """Let the commands run, all at once, as soon as all have imported everything."""
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def log(world: World) -> str:
    """What the commands said on standard error."""
    return (world.folder / "commands.log").read_text()


if __name__ == "__main__":
    from dagster._cli import main

    import r2_hf_assets.definitions  # noqa: F401

    print("ready", flush=True)
    sys.stdin.readline()
    main()
