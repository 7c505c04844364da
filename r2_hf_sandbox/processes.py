"""Start, watch and end the sandbox's server processes, and find loopback ports for them.

A server runs in one of two ways. Kept (the default): under `keeper.py`, which ends it when this process stops it, dies
or is killed. Detached: on its own, in a new session, to outlive this process, for `sandbox up`; whoever ends it later
knows it by pid AND start time, so that a pid the system has given to another process is never signalled.

Ports are drawn below the range from which Linux takes the ports of outgoing connections (32768 and up), where another
process's connection could take a port between our look and the server's bind.
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
from pathlib import Path

KEEPER = Path(__file__).with_name("keeper.py")
LOOPBACK = "127.0.0.1"
PORT_RANGE = (12_000, 22_000)  # plus 10,000 for gRPC still stays below 32,768
GRPC_OFFSET = 10_000  # SeaweedFS: every HTTP port has a gRPC port this much above it
LOG_TAIL_BYTES = 3_000


class SandboxError(RuntimeError):
    """A sandbox part did not start or stop; the message is one line, then the log's tail if there is one."""


@dataclass(frozen=True)
class Process:
    """A server process: its pid, its start time as the system tells it, its log, and its keeper if it has one."""

    pid: int
    started: str
    log: Path
    keeper: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def alive(self) -> bool:
        return self.pid > 0 and start_time(self.pid) == self.started

    def stop(self, grace_s: float) -> None:
        """End the process, and return when it is gone. A process already gone is no error."""
        if self.keeper is not None:
            _stop_keeper(self.keeper, grace_s)
            return
        for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
            if patience_s > 0 and self.alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, number)
                wait_until(lambda: not self.alive(), patience_s)
        if self.alive():
            raise SandboxError(f"process {self.pid} does not end, even when killed")


def start_process(
    command: Sequence[str],
    *,
    log: Path,
    detach: bool,
    grace_s: float,
    unlink: Sequence[str] = (),
    env: dict[str, str] | None = None,
) -> Process:
    """Start a server; its output is appended to `log`. `unlink` names files that the keeper removes after it."""
    if detach:
        with log.open("ab") as output:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, env=env
            )
        child.returncode = 0  # nobody will wait for it through this object, which would warn of that when collected
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
    answer = keeper.stdout.readline().split()
    keeper.stdout.close()
    if not answer:
        _stop_keeper(keeper, 0)
        raise SandboxError(f"cannot start {command[0]}")
    pid = int(answer[0])
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
    """When the process started, in the system's own words, or None when it is gone or a zombie."""
    try:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # a detached child of ours would stay a zombie otherwise
        if sys.platform == "linux":
            # Field 2 is the command in brackets and may hold anything; the rest follows its last bracket.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if fields[0] in "ZX" else fields[19]
        seen = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True)
    except OSError:
        return None
    state, _, started = seen.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def free_port(*, grpc: bool = False, taken: Sequence[int] = ()) -> int:
    """A loopback port that nothing listens on, and with `grpc` the port 10,000 above it too."""
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


def wait_until(done: Callable[[], bool], patience_s: float, every_s: float = 0.05) -> bool:
    deadline = time.monotonic() + patience_s
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
