"""The record of a sandbox that stays up, by which another command finds and stops it.

F/sandbox.json names the processes by pid and start time, so that a recycled pid is never signalled. F/sandbox.env
holds the settings as an .env file.
"""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2_hf_sandbox.hub.server import STOP_GRACE_S
from r2_hf_sandbox.processes import Process, SandboxError
from r2_hf_sandbox.s3.server import S3Server
from r2_hf_sandbox.sandbox import Sandbox

STATE_FILE = "sandbox.json"


@dataclass(frozen=True)
class State:
    """The content of F/sandbox.json: processes by name, files to remove after them, settings."""

    processes: dict[str, dict[str, Any]]
    leftovers: list[str]
    env: dict[str, str]

    def alive(self) -> dict[str, bool]:
        return {name: self.process(name).alive() for name in self.processes}

    def process(self, name: str) -> Process:
        record = self.processes[name]
        return Process(record["pid"], record["started"], Path(record["log"]))

    def s3(self, folder: Path) -> S3Server:
        """Return the running S3 server, through the slow line."""
        keys = self.env["R2_ACCESS_KEY_ID"], self.env["R2_SECRET_ACCESS_KEY"]
        return S3Server(self.env["R2_ENDPOINT_URL"], *keys, folder / "s3", self.process("s3"), ())

    def stop(self) -> None:
        for name in self.processes:
            self.process(name).stop(STOP_GRACE_S if name == "hub" else 0)
        for path in self.leftovers:
            Path(path).unlink(missing_ok=True)


def state_of(sandbox: Sandbox, env: dict[str, str]) -> State:
    servers = {"s3": sandbox.s3, "slow_line": sandbox.slow_line, "hub": sandbox.hub}
    running = {name: server.process for name, server in servers.items() if server is not None}
    processes = {
        name: {"pid": process.pid, "started": process.started, "log": str(process.log)}
        for name, process in running.items()
    }
    return State(processes, list(sandbox.s3.sockets), env)


def read_state(folder: Path) -> State | None:
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        return State(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise SandboxError(f"{path} is not a sandbox's state: {error}") from error


def write_state(folder: Path, state: State) -> None:
    for name, text in ((STATE_FILE, json.dumps(vars(state))), ("sandbox.env", "".join(env_lines(state.env)))):
        temporary = folder / f".{name}.tmp"
        temporary.touch(mode=0o600)
        temporary.write_text(text)
        temporary.replace(folder / name)


def env_lines(env: dict[str, str]) -> Iterator[str]:
    return (f"{name}={shlex.quote(value) if value else ''}\n" for name, value in env.items())
