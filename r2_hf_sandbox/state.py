"""What is written down about a sandbox that stays up, so that another command can find and stop it.

F/sandbox.json names the processes by pid and start time: a pid that the system has given to another process since is
left alone. F/sandbox.env holds the settings as an .env file.
"""

import fcntl
import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2_hf_sandbox.hub.server import STOP_GRACE_S
from r2_hf_sandbox.processes import Process, SandboxError
from r2_hf_sandbox.sandbox import Sandbox


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


def state_of(sandbox: Sandbox, samples: dict[str, Any] | None) -> State:
    processes = {
        name: {"pid": process.pid, "started": process.started, "log": str(process.log)}
        for name, process in (("s3", sandbox.s3.process), ("hub", sandbox.hub.process))
    }
    return State(processes, list(sandbox.s3.sockets), sandbox.env(), samples)


def end(state: State) -> None:
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
    for name, text in (("sandbox.json", json.dumps(vars(state))), ("sandbox.env", "".join(env_lines(state.env)))):
        temporary = folder / f".{name}.tmp"
        temporary.touch(mode=0o600)
        temporary.write_text(text)
        temporary.replace(folder / name)


def env_lines(env: dict[str, str]) -> Iterator[str]:
    return (f"{name}={shlex.quote(value)}\n" for name, value in env.items())


@contextmanager
def locked(folder: Path, *, make: bool) -> Iterator[None]:
    """One command at a time on a folder; a second `up` waits, and then finds the sandbox up."""
    if make:
        folder.mkdir(parents=True, exist_ok=True)
    elif not folder.is_dir():
        raise SandboxError(f"there is no sandbox in {folder}")
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
