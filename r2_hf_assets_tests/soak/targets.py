"""Find and kill the processes of a site; used by the harness and by those processes themselves.

Dagster's processes have the site's folder in their environment, which their children inherit, so runs are found even
when the code server that started them is dead. Linux only: it reads /proc.
"""

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

MARK = "R2_HF_KILLS_SITE"
RUN, CODE_SERVER, DAEMON, HUB, HOST = "run", "code server", "daemon", "Hub", "host"
COMMAND = "command"  # a `r2-hf remove` or `refresh` of command.py
OTHER = "other"  # what Dagster starts beside a run: it tails its logs, and may outlive it
# What a crash of the host kills; the Hub and the bucket are elsewhere.
ON_HOST = (CODE_SERVER, DAEMON, RUN, COMMAND, OTHER)
_KINDS = {
    b"spawn_main": RUN,
    b"\0api\0grpc": CODE_SERVER,
    b"dagster-daemon": DAEMON,
    b"r2_hf_sandbox.hub.app": HUB,
    b"soak.command": COMMAND,
}


def processes(site: Path) -> dict[int, str]:
    """Return the kind of each running process of the site, by pid."""
    marked, folder = f"{MARK}={site}".encode(), f"{site}/hub\0".encode()
    kinds: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue  # it has ended, or is not ours
        if b"keeper.py" in command or not (marked in environment.split(b"\0") or folder in command):
            continue
        kinds[int(entry.name)] = next((kind for words, kind in _KINDS.items() if words in command), OTHER)
    return kinds


def find_targets(site: Path, target: str) -> list[int]:
    """List the processes of this kind, with HOST all on the host; the calling process comes last."""
    kinds = ON_HOST if target == HOST else (target,)
    pids = (pid for pid, kind in processes(site).items() if kind in kinds)
    return sorted(pids, key=lambda pid: pid == os.getpid())


def kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
