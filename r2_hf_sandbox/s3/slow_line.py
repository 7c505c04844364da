"""A proxy in front of the S3 server that serves slow episodes as over a thin line; everything else passes at once.

A slow episode's id begins with SLOW. Its MP3s are served one at a time, OBJECT_S each, over all connections together.
So a chunk of slow episodes takes the same time on every machine, long enough to see a progress bar and to interrupt it.
Large episodes take longer to upload than to build: 154 MB took 21 s and 11 s on two busy cores.

`start_slow_line` runs it as a process of its own.
"""

import os
import re
import socket
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from r2_hf_sandbox.processes import LOOPBACK, Process, free_port, start_process, start_server
from r2_hf_sandbox.s3.faults import S3Fault, S3Faults, S3Request

SLOW = "slow"
OBJECT_S = 0.1

START_ATTEMPTS = 5
START_TIMEOUT_S = 30.0
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_SLOW_AUDIO = re.compile(rf"/{SLOW}[^/]*\.mp3")
_DELAY = S3Fault("", kind="delay", delay_s=OBJECT_S, in_turn=True)


@dataclass(frozen=True)
class SlowLine:
    """A running proxy."""

    endpoint_url: str
    process: Process

    def responds(self) -> bool:
        host, _, port = self.endpoint_url.removeprefix("http://").partition(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def stop(self) -> None:
        self.process.stop(grace_s=0)


def start_slow_line(folder: Path, upstream_url: str, *, detach: bool = False) -> SlowLine:
    """Start the proxy in front of `upstream_url`, with its log in `folder`.

    Args:
        detach: the proxy outlives this process until `stop()`.

    Raises:
        SandboxError: it did not start; the message ends with the tail of its log.
    """
    log = folder / "slow_line.log"
    env = {**os.environ, "PYTHONPATH": str(_PACKAGE_ROOT)}

    def start() -> SlowLine:
        port = free_port()
        code = f"from r2_hf_sandbox.s3.slow_line import serve; serve({upstream_url!r}, {port})"
        process = start_process([sys.executable, "-c", code], log=log, detach=detach, grace_s=0, env=env)
        return SlowLine(f"http://{LOOPBACK}:{port}", process)

    return start_server(start, "slow line", log, attempts=START_ATTEMPTS, timeout_s=START_TIMEOUT_S)


class Proxy(S3Faults):
    """The proxy, in this process."""

    def choose(self, request: S3Request) -> S3Fault | None:
        """Return the delay of a slow episode's audio; nothing is logged, because this process runs for days."""
        return _DELAY if request.method == "GET" and _SLOW_AUDIO.search(request.path) else None


def serve(upstream_url: str, port: int) -> None:
    """Run the proxy until the process is killed."""
    with Proxy(upstream_url, port):
        threading.Event().wait()
