"""`python -m r2_hf_sandbox up|down|status --folder F`: a sandbox that stays up between commands.

`demo` runs the main job on a sandbox, see `demo.py`.

`up` starts both servers detached, fills the bucket with samples and prints the settings as an .env file, which it also
writes to F/sandbox.env. Repeated, it says that the sandbox is up. `down` ends both servers and waits; objects, commits
and keys stay in F, and the next `up` serves them again (on other ports).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from r2_hf_sandbox.demo import DemoError, demo, demo_down
from r2_hf_sandbox.processes import SandboxError
from r2_hf_sandbox.samples.bucket import DEFAULT_EPISODES, scaled_episodes, upload_samples
from r2_hf_sandbox.sandbox import Sandbox, start_sandbox
from r2_hf_sandbox.state import State, end, env_lines, locked, read_state, state_of, write_state

SEGMENTS = (8, 20)  # a list; enough to look at, quick to make
SECONDS = (3.0, 12.0)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m r2_hf_sandbox", description="A sandbox that stays up.")
    parser.add_argument("verb", choices=["up", "down", "status", "demo", "demo-down"])
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="where it keeps everything (default .demo)")
    parser.add_argument("--keep", action="store_true", help="demo: leave the sandbox up and write a .env")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other samples (default 1)")
    parser.add_argument("--episodes", type=int, help="how many episodes (default: a few in every kind of folder)")
    options = parser.parse_args(argv)
    folder = options.folder.absolute()
    try:
        if options.verb == "demo":
            return demo(folder, keep=options.keep)
        if options.verb == "demo-down":
            return demo_down(folder)
        with locked(folder, make=options.verb == "up"):
            if options.verb == "up":
                return up(folder, options.seed, options.episodes)
            return down(folder) if options.verb == "down" else status(folder)
    except (SandboxError, DemoError, OSError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1


def up(folder: Path, seed: int, episodes: int | None) -> int:
    state = read_state(folder)
    if state and all(state.alive().values()):
        print(f"the sandbox in {folder} is already up", file=sys.stderr)
    else:
        if state:
            end(state)
        sandbox = start_sandbox(folder, detach=True)
        state = state_of(sandbox, state.samples if state else None)
        try:
            write_state(folder, state)
        except BaseException:
            sandbox.stop()
            raise
        state = _fill(sandbox, state, {"seed": seed, "episodes": episodes})
    print("".join(env_lines(state.env)), end="")
    print(f"the same is in {folder / 'sandbox.env'}; use it by: set -a; . that file; set +a", file=sys.stderr)
    return 0


def down(folder: Path) -> int:
    state = read_state(folder)
    if state is None or not any(state.alive().values()):
        print(f"the sandbox in {folder} is not up", file=sys.stderr)
    if state:
        end(state)
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


if __name__ == "__main__":
    sys.exit(main())
