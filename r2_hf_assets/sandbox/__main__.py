"""`python -m r2_hf_assets.sandbox up|down|status --folder F`: a sandbox that stays up between commands.

`up` starts both servers detached, fills the bucket with samples and prints the settings as an .env file, which it also
writes to F/sandbox.env. Repeated, it says that the sandbox is up. `down` ends both servers and waits; objects, commits
and keys stay in F, and the next `up` serves them again (on other ports). F/sandbox.json names the processes by pid and
start time: a pid that the system has given to another process since is left alone.
"""

import argparse
import fcntl
import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2_hf_assets.sandbox.hub import STOP_GRACE_S
from r2_hf_assets.sandbox.processes import Process, SandboxError
from r2_hf_assets.sandbox.samples import DEFAULT_EPISODES, scaled_episodes, upload_samples
from r2_hf_assets.sandbox.sandbox import Sandbox, start_sandbox

SEGMENTS = (8, 20)  # a list; enough to look at, quick to make
SECONDS = (3.0, 12.0)


@dataclass(frozen=True)
class State:
    """What F/sandbox.json holds: the processes by name, the files they leave, the settings, the samples put so far."""

    processes: dict[str, dict[str, Any]]
    leftovers: list[str]
    env: dict[str, str]
    samples: dict[str, Any] | None

    def alive(self) -> dict[str, bool]:
        return {name: self.process(name).alive() for name in self.processes}

    def process(self, name: str) -> Process:
        seen = self.processes[name]
        return Process(seen["pid"], seen["started"], Path(seen["log"]))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m r2_hf_assets.sandbox", description="A sandbox that stays up.")
    parser.add_argument("verb", choices=["up", "down", "status"])
    parser.add_argument("--folder", type=Path, required=True, help="where the sandbox keeps everything")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other samples (default 1)")
    parser.add_argument("--episodes", type=int, help="how many episodes (default: a few in every kind of folder)")
    options = parser.parse_args(argv)
    folder = options.folder.absolute()
    try:
        with _locked(folder, make=options.verb == "up"):
            if options.verb == "up":
                return up(folder, options.seed, options.episodes)
            return down(folder) if options.verb == "down" else status(folder)
    except (SandboxError, OSError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1


def up(folder: Path, seed: int, episodes: int | None) -> int:
    state = read_state(folder)
    if state and all(state.alive().values()):
        print(f"the sandbox in {folder} is already up", file=sys.stderr)
    else:
        if state:
            _end(state)
        sandbox = start_sandbox(folder, detach=True)
        state = _state_of(sandbox, state.samples if state else None)
        try:
            write_state(folder, state)
        except BaseException:
            sandbox.stop()
            raise
        state = _fill(sandbox, state, {"seed": seed, "episodes": episodes})
    print("".join(_env_lines(state.env)), end="")
    print(f"the same is in {folder / 'sandbox.env'}; use it by: set -a; . that file; set +a", file=sys.stderr)
    return 0


def down(folder: Path) -> int:
    state = read_state(folder)
    if state is None or not any(state.alive().values()):
        print(f"the sandbox in {folder} is not up", file=sys.stderr)
    if state:
        _end(state)
    return 0


def status(folder: Path) -> int:
    """0 when both servers are up, 3 when not (as init scripts have it)."""
    state = read_state(folder)
    alive = state.alive() if state else {"s3": False, "hub": False}
    for name, is_up in alive.items():
        place = state.env["R2_ENDPOINT_URL" if name == "s3" else "HF_ENDPOINT"] if state and is_up else ""
        print(f"{name} {'up' if is_up else 'down'} {place}".rstrip())
    return 0 if all(alive.values()) else 3


def _fill(sandbox: Sandbox, state: State, wanted: dict[str, Any]) -> State:
    if state.samples == wanted:
        return state
    episodes = DEFAULT_EPISODES if wanted["episodes"] is None else scaled_episodes(wanted["episodes"])
    put = upload_samples(
        sandbox.s3, sandbox.bucket, seed=wanted["seed"], episodes=episodes, segments=SEGMENTS, seconds=SECONDS
    )
    print(f"{put.episodes} episodes, {put.segments} segments, {put.audio_bytes:,} bytes of audio", file=sys.stderr)
    filled = State(state.processes, state.leftovers, state.env, wanted)
    write_state(sandbox.folder, filled)
    return filled


def _state_of(sandbox: Sandbox, samples: dict[str, Any] | None) -> State:
    processes = {
        name: {"pid": process.pid, "started": process.started, "log": str(process.log)}
        for name, process in (("s3", sandbox.s3.process), ("hub", sandbox.hub.process))
    }
    return State(processes, list(sandbox.s3.sockets), sandbox.env(), samples)


def _end(state: State) -> None:
    state.process("hub").stop(STOP_GRACE_S)
    state.process("s3").stop(0)
    for path in state.leftovers:
        Path(path).unlink(missing_ok=True)


def read_state(folder: Path) -> State | None:
    path = folder / "sandbox.json"
    if not path.exists():
        return None
    try:
        return State(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise SandboxError(f"{path} is not a sandbox's state: {error}") from error


def write_state(folder: Path, state: State) -> None:
    for name, text in (("sandbox.json", json.dumps(vars(state))), ("sandbox.env", "".join(_env_lines(state.env)))):
        temporary = folder / f".{name}.tmp"
        temporary.touch(mode=0o600)
        temporary.write_text(text)
        temporary.replace(folder / name)


def _env_lines(env: dict[str, str]) -> Iterator[str]:
    return (f"{name}={shlex.quote(value)}\n" for name, value in env.items())


@contextmanager
def _locked(folder: Path, *, make: bool) -> Iterator[None]:
    """One command at a time on a folder; a second `up` waits, and then finds the sandbox up."""
    if make:
        folder.mkdir(parents=True, exist_ok=True)
    elif not folder.is_dir():
        raise SandboxError(f"there is no sandbox in {folder}")
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
