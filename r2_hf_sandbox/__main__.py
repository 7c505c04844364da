"""`r2-hf sandbox up|add-episodes|status|down`: a sandbox that stays up between commands.

`up` starts the servers detached, uploads samples and prints the settings as an .env file, which it also writes to
F/sandbox.env. `down` stops the servers; objects, commits and keys stay in F, and the next `up` serves them again on
other ports. `demo` and `demo-down` run the main job on a sandbox, see demo.py. `python -m r2_hf_sandbox` is the same.
"""

import sys
from collections import Counter
from collections.abc import Mapping
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from r2_hf_sandbox import demo as demos
from r2_hf_sandbox.processes import SandboxError
from r2_hf_sandbox.project import project_env
from r2_hf_sandbox.s3.slow_line import OBJECT_S, SLOW
from r2_hf_sandbox.samples.bucket import DEFAULT_EPISODES, SampleSummary, add_samples, scaled_episodes, upload_samples
from r2_hf_sandbox.sandbox import start_sandbox
from r2_hf_sandbox.state import State, env_lines, read_state, state_of, write_state

SEGMENTS = (8, 20)
SECONDS = (3.0, 12.0)
SLOW_SEGMENTS = 50
SLOW_EPISODE_S = round(SLOW_SEGMENTS * OBJECT_S)


class _Verbs(click.Group):
    """A group whose commands end with one line for an error of the sandbox."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (SandboxError, OSError) as error:
            print(f"sandbox: {error}", file=sys.stderr)
            ctx.exit(1)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
def verbs() -> None:
    """A real S3 server, a local Hub and sample episodes on this machine, to try everything on."""


folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=".demo",
    show_default=True,
    callback=lambda context, option, folder: folder.absolute(),
    help="The folder of all its files.",
)
seed_option = click.option("--seed", default=1, show_default=True, help="Another seed, other samples.")


@verbs.command()
@folder_option
@seed_option
@click.option("--episodes", type=click.IntRange(0), help="How many; by default a few in every kind of folder.")
@click.pass_context
def up(context: click.Context, folder: Path, seed: int, episodes: int | None) -> None:
    """Start the servers, upload sample episodes, and print a .env."""
    state = read_state(folder)
    if state and all(state.alive().values()):
        given = [name for name in context.params if context.get_parameter_source(name) == ParameterSource.COMMANDLINE]
        ignored = " and ".join(f"--{name}" for name in given if name != "folder")
        more = f"; {ignored} ignored: `r2-hf sandbox add-episodes` adds some" if ignored else ""
        print(f"the sandbox in {folder} is already up{more}", file=sys.stderr)
    else:
        if state:
            state.stop()
        state = _start(folder, seed, DEFAULT_EPISODES if episodes is None else scaled_episodes(episodes))
    print("".join(env_lines(state.env)), end="")
    print(f"as the project's settings: cp {folder / 'sandbox.env'} .env", file=sys.stderr)


def _start(folder: Path, seed: int, episodes: Mapping[str, int]) -> State:
    sandbox = start_sandbox(folder, detach=True, slow_line=True)
    try:
        state = state_of(sandbox, project_env(sandbox))
        write_state(folder, state)
        samples: dict[str, Any] = {"seed": seed, "segments": SEGMENTS, "seconds": SECONDS}
        summary = upload_samples(sandbox.s3, sandbox.bucket, episodes=episodes, **samples)
        print(_counts(summary), file=sys.stderr)
    except BaseException:
        sandbox.stop()
        raise
    return state


@verbs.command("add-episodes")
@click.argument("number", type=click.IntRange(1))
@click.option("--language", metavar="L", help="Into these language folders, e.g. en,de; by default into several.")
@click.option("--slow", is_flag=True, help=f"Each takes about {SLOW_EPISODE_S} seconds to fetch.")
@seed_option
@folder_option
def add_episodes(number: int, language: str | None, slow: bool, seed: int, folder: Path) -> None:
    """Upload NUMBER new episodes to the bucket.

    The sandbox must be up. No episode is overwritten: a second call adds others.
    """
    state = read_state(folder)
    if state is None or not all(state.alive().values()):
        raise SandboxError(f"no sandbox is up in {folder}: `make demo KEEP=1` or `r2-hf sandbox up` starts one")
    folders = (language or "").replace(",", " ").split()
    episodes = dict(Counter(islice(cycle(folders), number))) if folders else scaled_episodes(number)
    segments, kind = ((SLOW_SEGMENTS, SLOW_SEGMENTS), SLOW) if slow else (SEGMENTS, "ep")
    samples = {"seed": seed, "segments": segments, "seconds": SECONDS, "kind": kind}
    summary = add_samples(state.s3(folder), state.env["R2_BUCKET"], episodes=episodes, **samples)
    counts = ", ".join(f"{count} in {name}" for name, count in episodes.items())
    print(f"{_counts(summary)} added: {counts}", file=sys.stderr)


def _counts(summary: SampleSummary) -> str:
    return f"{summary.episodes} episodes, {summary.segments} segments, {summary.audio_bytes:,} bytes of audio"


@verbs.command()
@folder_option
def down(folder: Path) -> None:
    """Stop the servers; their files stay."""
    state = _state_in(folder)
    if state is None or not any(state.alive().values()):
        print(f"the sandbox in {folder} is not up", file=sys.stderr)
    if state:
        state.stop()


@verbs.command()
@folder_option
@click.pass_context
def status(context: click.Context, folder: Path) -> None:
    """Print whether each server is up.

    The exit code is 0 when all are, else 3, as that of init scripts.
    """
    state = _state_in(folder)
    alive = state.alive() if state else {"s3": False, "hub": False}
    urls = {"s3": "R2_ENDPOINT_URL", "hub": "HF_ENDPOINT"}
    for name, is_up in alive.items():
        url = state.env[urls[name]] if state and is_up and name in urls else ""
        print(f"{name} {'up' if is_up else 'down'} {url}".rstrip())
    context.exit(0 if all(alive.values()) else 3)


def _state_in(folder: Path) -> State | None:
    if not folder.is_dir():
        raise SandboxError(f"there is no sandbox in {folder}")
    return read_state(folder)


@verbs.command()
@folder_option
@click.option("--keep", is_flag=True, help="Leave the sandbox up, and write a .env for it.")
def demo(folder: Path, keep: bool) -> None:
    """Run the whole job on a new sandbox, and show its result."""
    demos.demo(folder, keep=keep)


@verbs.command("demo-down")
@folder_option
def demo_down(folder: Path) -> None:
    """Stop the demo's servers, and remove its files and its .env."""
    demos.demo_down(folder)


def main(arguments: list[str] | None = None) -> int:
    """Run a command, by default that of sys.argv; returns the exit code."""
    try:
        return verbs.main(arguments, prog_name="python -m r2_hf_sandbox", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code


if __name__ == "__main__":
    verbs(prog_name="python -m r2_hf_sandbox")
