"""`python -m r2_hf_sandbox up|down|status --folder F`: a sandbox that stays up between commands.

`up` starts both servers detached, uploads samples and prints the settings as an .env file, which it also writes to
F/sandbox.env. `down` stops both servers; objects, commits and keys stay in F, and the next `up` serves them again on
other ports. `demo` and `demo-down` run the main job on a sandbox, see `demo.py`.
"""

import argparse
import sys
from pathlib import Path

from r2_hf_sandbox.demo import demo, demo_down
from r2_hf_sandbox.processes import SandboxError
from r2_hf_sandbox.samples.bucket import DEFAULT_EPISODES, scaled_episodes, upload_samples
from r2_hf_sandbox.sandbox import start_sandbox
from r2_hf_sandbox.state import env_lines, read_state, state_of, write_state

SEGMENTS = (8, 20)
SECONDS = (3.0, 12.0)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m r2_hf_sandbox", description="A sandbox that stays up.")
    parser.add_argument("verb", choices=["up", "down", "status", "demo", "demo-down"])
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="folder of all its files (default .demo)")
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
        if options.verb == "up":
            return up(folder, options.seed, options.episodes)
        if not folder.is_dir():
            raise SandboxError(f"there is no sandbox in {folder}")
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
            state.stop()
        sandbox = start_sandbox(folder, detach=True)
        try:
            state = state_of(sandbox)
            write_state(folder, state)
            summary = upload_samples(
                sandbox.s3,
                sandbox.bucket,
                seed=seed,
                episodes=DEFAULT_EPISODES if episodes is None else scaled_episodes(episodes),
                segments=SEGMENTS,
                seconds=SECONDS,
            )
        except BaseException:
            sandbox.stop()
            raise
        counts = f"{summary.episodes} episodes, {summary.segments} segments, {summary.audio_bytes:,} bytes of audio"
        print(counts, file=sys.stderr)
    print("".join(env_lines(state.env)), end="")
    print(f"the same is in {folder / 'sandbox.env'}; use it by: set -a; . that file; set +a", file=sys.stderr)
    return 0


def down(folder: Path) -> int:
    state = read_state(folder)
    if state is None or not any(state.alive().values()):
        print(f"the sandbox in {folder} is not up", file=sys.stderr)
    if state:
        state.stop()
    return 0


def status(folder: Path) -> int:
    """Print each server's state; return 0 when both are up, else 3 as init scripts do."""
    state = read_state(folder)
    alive = state.alive() if state else {"s3": False, "hub": False}
    for name, is_up in alive.items():
        url = state.env["R2_ENDPOINT_URL" if name == "s3" else "HF_ENDPOINT"] if state and is_up else ""
        print(f"{name} {'up' if is_up else 'down'} {url}".rstrip())
    return 0 if all(alive.values()) else 3


if __name__ == "__main__":
    sys.exit(main())
