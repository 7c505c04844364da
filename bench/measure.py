"""One command in a process of its own: wall, CPU, peak memory, and its reported values.

Wall is a monotonic clock around the process, start and imports included. CPU includes the processes it waited for, but
not the servers. Memory is the sum of resident pages over the session's processes, read from /proc 40 times a second, or
one process's high-water mark where that is higher, so that a peak between two polls is not missed. (ru_maxrss does not
serve: it starts at the size of the parent.)
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_POLL_S = 0.025
_FIND_EVERY = 8  # polls between two searches for new processes
_TAIL_CHARACTERS = 2000


class BenchError(Exception):
    """One line: the command that failed, then the tail of its output."""


@dataclass(frozen=True)
class Sample:
    """One run: seconds, CPU seconds, MB (10^6 bytes), values of the job, CPU seconds of servers."""

    wall: float
    cpu: float
    peak_mb: float
    reported: Mapping[str, Any] = field(default_factory=dict)
    servers: Mapping[str, float] = field(default_factory=dict)


def measure(command: Sequence[str], env: Mapping[str, str], folder: Path) -> Sample:
    """Run `command` in `folder`.

    Raises:
        BenchError: its exit code is not 0.
    """
    name = " ".join(command[-3:])
    out, err = folder / "stdout", folder / "stderr"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        started = time.monotonic()
        process = subprocess.Popen(
            command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
        )
        watch = _Watch(process.pid)
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.monotonic() - started
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            watch.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = (err.read_text(errors="replace") or out.read_text(errors="replace"))[-_TAIL_CHARACTERS:]
        raise BenchError(f"{name} ended with {process.returncode}:\n{tail}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, watch.peak / 1e6, _last_json(out))


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds so far of a process and its children, ended ones included."""
    ticks, parents = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # Field 2 is the command in brackets and may hold anything. The parent is the second after it; user and
                # system time, its own and that of its ended children, are the 12th to 15th.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
                ticks[int(entry.name)] = sum(map(int, fields[11:15]))
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks.get(member, 0) for member in family) / os.sysconf("SC_CLK_TCK")


class _Watch(threading.Thread):
    """Polls the memory of a session's processes until stopped; `peak` in bytes."""

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._session = session
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        pids = [self._session]
        fresh: list[int] = []
        polls = 0
        while not self._over.wait(_POLL_S):
            # Not before the next poll: between fork and exec a process shows its parent's memory as its own.
            pids, fresh = pids + fresh, []
            if polls % _FIND_EVERY == 0:
                members = _session(self._session)
                fresh = [pid for pid in members if pid not in pids]
                pids = [pid for pid in pids if pid in members]
            polls += 1
            sizes = [_memory(pid) for pid in pids]
            total = sum(now for now, _ in sizes)
            self.peak = max(self.peak, total, *(highest for _, highest in sizes)) if sizes else self.peak

    def stop(self) -> None:
        self._over.set()
        self.join()


def _session(session: int) -> list[int]:
    """Return the processes of a session; its leader first, also before it has called setsid."""
    members = [session]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != session:
            with contextlib.suppress(OSError):
                # Field 2 is the command in brackets and may hold anything; the session is the fourth after it.
                if (entry / "stat").read_text().rpartition(")")[2].split()[3] == str(session):
                    members.append(int(entry.name))
    return members


def _memory(pid: int) -> tuple[int, int]:
    """Return resident bytes now and at most; zeros when the process has ended."""
    try:
        sizes = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
    except OSError:
        sizes = {}
    return int(sizes.get("VmRSS", 0)) * 1024, int(sizes.get("VmHWM", 0)) * 1024


def _last_json(path: Path) -> dict[str, Any]:
    lines = path.read_text(errors="replace").splitlines()
    try:
        reported = json.loads(lines[-1]) if lines else {}
    except ValueError:
        reported = {}
    return reported if isinstance(reported, dict) else {}
