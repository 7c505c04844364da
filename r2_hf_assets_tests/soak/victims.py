"""Which processes belong to a site, and how they are killed. The harness and the processes themselves use it.

Dagster's processes carry the site's folder in their environment, which their children inherit; so runs are found even
when the code server that started them is dead. Linux only: it reads /proc.
"""

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

MARK = "R2_HF_KILLS_SITE"
RUN, CODE_SERVER, DAEMON, HUB, HOST = "run", "code server", "daemon", "Hub", "host"
OTHER = "other"  # what Dagster starts beside a run: it tails its logs, and may outlive it
# What dies with the machine that works; the Hub and the bucket are elsewhere.
ON_HOST = (CODE_SERVER, DAEMON, RUN, OTHER)
_KINDS = {b"spawn_main": RUN, b"\0api\0grpc": CODE_SERVER, b"dagster-daemon": DAEMON, b"r2_hf_sandbox.hub.app": HUB}


def processes(site: Path) -> dict[int, str]:
    """Kind of each living process of the site, by pid."""
    marked, folder = f"{MARK}={site}".encode(), f"{site}/hub\0".encode()
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue  # it has ended, or is not ours
        if b"keeper.py" in command or not (marked in environment.split(b"\0") or folder in command):
            continue
        found[int(entry.name)] = next((kind for words, kind in _KINDS.items() if words in command), OTHER)
    return found


def aim(site: Path, victim: str) -> list[int]:
    """The processes of this kind, or with HOST all that work there; our own comes last."""
    kinds = ON_HOST if victim == HOST else (victim,)
    found = processes(site)
    return sorted((pid for pid, kind in found.items() if kind in kinds), key=lambda pid: pid == os.getpid())


def kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
