"""A slow line in front of a server: a bench.proxy process, and its count of bytes."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bench.proxy import DOWN

ROOT = Path(__file__).parents[1]
_STOP_S = 10.0


@dataclass(frozen=True)
class Line:
    """A running proxy at `url`, which serves after `connect`. `counts` is the file of byte counts, see `received`."""

    url: str
    counts: Path
    _input: IO[str] = field(repr=False)
    _output: IO[str] = field(repr=False)

    def connect(self, url: str) -> None:
        """Send the server's URL to the proxy, once, and wait until it listens."""
        self._input.write(f"{url}\n")
        self._input.flush()
        self._output.readline()


@contextmanager
def open_line(*, delay_s: float = 0.0, rate: float = 0.0) -> Iterator[Line]:
    """Open a line that delays responses by `delay_s`, with `rate` bytes/s in each direction (0: no limit)."""
    with tempfile.NamedTemporaryFile() as counts:
        counts.truncate(16)
        with served("bench.proxy", str(delay_s), str(rate), counts.name) as (url, server):
            assert server.stdin is not None and server.stdout is not None
            yield Line(url, Path(counts.name), server.stdin, server.stdout)


@contextmanager
def served(module: str, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a module that prints its URL and serves until its input ends."""
    command = [sys.executable, "-m", module, *arguments]
    server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None and server.stdout is not None
    try:
        yield server.stdout.readline().strip(), server
    finally:
        server.stdin.close()
        server.wait(_STOP_S)
        server.stdout.close()


def received(counts: Path) -> int:
    """Return the bytes sent to clients so far."""
    with counts.open("rb") as file:
        return memoryview(file.read()).cast("Q")[DOWN]
