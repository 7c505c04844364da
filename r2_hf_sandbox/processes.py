"""Start and stop the sandbox's server processes, and find loopback ports for them.

A server runs in one of two modes. Kept (the default): under `keeper.py`, which stops it when this process stops it,
exits or is killed. Detached, for `up`: in a new session, so that it outlives this process. A later command identifies
it by pid and start time, so that a recycled pid is never signalled.

Ports are drawn below the range of outgoing connections on Linux (32768 and up), where another process could take a
port between the probe and the server's bind.
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

KEEPER = Path(__file__).with_name("keeper.py")
LOOPBACK = "127.0.0.1"
PORT_RANGE = (12_000, 22_000)  # plus 10,000 for gRPC still stays below 32,768
GRPC_OFFSET = 10_000  # SeaweedFS: every HTTP port has a gRPC port this much above it
LOG_TAIL_BYTES = 3_000


class SandboxError(RuntimeError):
    """A failure of the sandbox: one line, then the log's tail if there is one."""


@dataclass(frozen=True)
class Process:
    """A server process. `started` is its start time as the system formats it."""

    pid: int
    started: str
    log: Path
    keeper: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def alive(self) -> bool:
        return self.pid > 0 and start_time(self.pid) == self.started

    def stop(self, grace_s: float) -> None:
        """Terminate the process, kill it after `grace_s` seconds, and wait until it has ended."""
        if self.keeper is not None:
            _stop_keeper(self.keeper, grace_s)
            return
        for number, timeout_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
            if timeout_s > 0 and self.alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, number)
                wait_until(lambda: not self.alive(), timeout_s)
        if self.alive():
            raise SandboxError(f"process {self.pid} does not end after SIGKILL")


class Server(Protocol):
    """A server that `start_server` starts."""

    @property
    def process(self) -> Process: ...

    def responds(self) -> bool: ...

    def stop(self) -> None: ...


S = TypeVar("S", bound=Server)


def start_server(start: Callable[[], S], name: str, log: Path, *, attempts: int, timeout_s: float) -> S:
    """Call `start` until its server responds. A port can be taken before the server's bind, so each call draws others.

    Raises:
        SandboxError: no attempt succeeded; the message ends with the tail of the log.
    """
    for _ in range(attempts):
        server = start()
        if wait_until(partial(_settled, server), timeout_s) and server.process.alive():
            return server
        server.stop()
    raise SandboxError(f"the {name} did not start in {log.parent}; its log ends:\n{log_tail(log)}")


def _settled(server: Server) -> bool:
    return not server.process.alive() or server.responds()


def start_process(
    command: Sequence[str],
    *,
    log: Path,
    detach: bool,
    grace_s: float,
    unlink: Sequence[str] = (),
    env: dict[str, str] | None = None,
) -> Process:
    """Start a server; its output is appended to `log`. The keeper removes the files `unlink` after it."""
    if detach:
        with log.open("ab") as output:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, env=env
            )
        child.returncode = 0  # without one, this object's finalizer warns that the child is still running
        return Process(child.pid, start_time(child.pid) or "", log)
    keep = [sys.executable, "-I", "-S", str(KEEPER), str(os.getpid()), str(grace_s), str(log)]
    keeper = subprocess.Popen(
        [*keep, "--unlink", *unlink, "--", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=env,
    )
    assert keeper.stdout is not None
    line = keeper.stdout.readline().split()
    keeper.stdout.close()
    if not line:
        _stop_keeper(keeper, 0)
        raise SandboxError(f"cannot start {command[0]}")
    pid = int(line[0])
    return Process(pid, start_time(pid) or "", log, keeper)


def _stop_keeper(keeper: subprocess.Popen[bytes], grace_s: float) -> None:
    assert keeper.stdin is not None
    with contextlib.suppress(OSError):
        keeper.stdin.close()
    try:
        keeper.wait(grace_s + 10)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(keeper.pid, signal.SIGKILL)
        keeper.wait()


def start_time(pid: int) -> str | None:
    """Return the start time as the system formats it, or None when the process has ended."""
    try:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # reaps a detached child, which would stay a zombie
        if sys.platform == "linux":
            # Field 2 is the command in brackets and may hold anything; the rest follows its last bracket.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if fields[0] in "ZX" else fields[19]
        listed = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True)
    except OSError:
        return None
    state, _, started = listed.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def free_port(*, grpc: bool = False, taken: Sequence[int] = ()) -> int:
    """Return a loopback port that is free; with `grpc` the port 10,000 above it is free too."""
    for _ in range(1_000):
        port = random.SystemRandom().randrange(*PORT_RANGE)
        if port not in taken and all(map(_is_free, (port, port + GRPC_OFFSET) if grpc else (port,))):
            return port
    raise SandboxError("no free loopback port")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return True
    return False


def wait_until(done: Callable[[], bool], timeout_s: float, every_s: float = 0.05) -> bool:
    """Poll `done`; return False when it is still false after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


def log_tail(log: Path) -> str:
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
        return file.read().decode(errors="replace")
    return ""
