"""A bash on a pseudo-terminal, and what a user sees of a command there."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from contextlib import suppress
from pathlib import Path

PROMPT = "\x1e"
COLUMNS = 100
ETX = "\x03"
GRACE_S = 60.0  # of a command after Ctrl-C


class Terminal:
    """A bash in a folder, with nothing but `env`; as a context manager it ends with the block."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._fd, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "--noediting", "-i"],
            cwd=folder,
            env={**env, "PS1": PROMPT, "TERM": "dumb", "VIRTUAL_ENV_DISABLE_PROMPT": "1"},
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(inside)
        self._read(re.compile(PROMPT), GRACE_S)

    def start(self, command: str) -> None:
        """Type a command and leave it running."""
        os.write(self._fd, f"{command}\n".encode())

    def run(self, command: str, timeout_s: float, interrupt_at: re.Pattern[str] | None = None) -> list[str]:
        """Type a command, and return the lines on the screen when it has ended, without progress bars.

        Args:
            interrupt_at: Ctrl-C is typed when this is printed. The line on the screen then is kept, with ^C behind it.
        """
        self.start(command)
        if interrupt_at is None:
            return as_seen(self._read(re.compile(PROMPT), timeout_s).partition("\n")[2])
        before = self._read(interrupt_at, timeout_s).partition("\n")[2]
        self.type_ctrl_c()
        after = self._read(re.compile(PROMPT), timeout_s).replace("^C", "", 1)
        done, _, last = before.rpartition("\n")
        bar = [text for text in last.split("\r") if text.strip()][-1]
        return [*as_seen(done), f"{bar.rstrip()}^C", *as_seen(after)]

    def type_ctrl_c(self) -> None:
        """Type Ctrl-C."""
        os.write(self._fd, ETX.encode())

    def interrupt(self) -> list[str]:
        """Type Ctrl-C, and wait for the prompt; return the lines since the last command, [] if it does not come."""
        self.type_ctrl_c()
        with suppress(TimeoutError, OSError):
            return as_seen(self._read(re.compile(PROMPT), GRACE_S))
        return []

    def _read(self, pattern: re.Pattern[str], timeout_s: float) -> str:
        """Read until the pattern; TimeoutError when it does not come."""
        read, deadline = b"", time.monotonic() + timeout_s
        while not pattern.search(text := read.decode(errors="ignore")):
            if not select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"no {pattern.pattern!r} within {timeout_s:.0f} s after: {text[-2000:]}")
            read += os.read(self._fd, 65536)
        return text.replace("\r\n", "\n").replace(PROMPT, "")

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)  # hangs up, which ends bash and its jobs
        try:
            self._bash.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._bash.pid, signal.SIGKILL)
            self._bash.wait()


def _own_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so Ctrl-C reaches what runs in the foreground
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)  # nohup, and a shell's `&`, have them ignored by all children


def as_seen(text: str) -> list[str]:
    """Return the lines of a text as on a screen: after a carriage return, characters overwrite those before it."""
    lines = []
    for line in text.split("\n"):
        seen = ""
        for part in line.split("\r"):
            seen = part + seen[len(part) :]
        lines.append(seen.rstrip())
    while lines and not lines[-1]:
        lines.pop()
    return lines
