"""The progress of `r2-hf process`: its counts, and its bar on a terminal."""

import fcntl
import os
import pty
import re
import struct
import termios
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tqdm import tqdm

from r2_hf_assets.cli.in_process import ChunkRun
from r2_hf_assets.cli.process import Progress, show_progress
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.shards.record import Tally
from r2_hf_sandbox.processes import wait_until

CHUNKS = [ChunkRef("en", 0, "a", 2), ChunkRef("en", 1, "b", 3)]


def run(number: int, run_id: str = "r", error: str | None = None, stop: str | None = None) -> ChunkRun:
    return ChunkRun(CHUNKS[number], run_id, error, stop)


def make_progress(lines: list[str]) -> Progress:
    return Progress(2, tqdm(disable=True), lines.append)


def test_the_bar_and_a_line_for_each_chunk() -> None:
    lines: list[str] = []
    progress = make_progress(lines)
    progress.watch(Tally(episodes=2, episodes_with_rows=1, audio_bytes=100))
    progress.watch(Tally(episodes=2, episodes_with_rows=1, episodes_rejected=1, audio_bytes=150))
    assert not progress.finish(run(0))
    progress.watch(Tally(episodes=3, episodes_with_rows=2, audio_bytes=1000))
    assert progress.bar.n == 4
    assert progress.finish(run(1, error="it is damaged"))
    assert (progress.bar.n, progress.failed) == (2, 1), "a failed chunk is subtracted"
    assert [re.sub(r" \d+\.\d s;", " T s;", line) for line in lines] == [
        "en|chunk_0000: done, 2 episodes, 150B in T s; 1 of 2",
        "en|chunk_0001: FAILED: it is damaged (run r) in T s; 2 of 2",
    ]


@pytest.mark.parametrize(
    ("runs", "summary"),
    [
        ([run(0), run(1)], "2 chunks done, 0 failed"),
        ([run(0), run(1, "")], "1 chunk done, 0 failed, 1 committed by other runs"),
        ([run(0, error="x"), run(1)], "1 chunk done, 1 failed; what failed is still due"),
        ([run(0, error="x", stop="a reason")], "0 chunks done, 1 failed; stopped, because a reason; 2 not done"),
    ],
)
def test_the_summary(runs: list[ChunkRun], summary: str) -> None:
    progress = make_progress([])
    for one in runs:
        progress.finish(one)
    assert progress.summary() == summary


def test_a_pipe_gets_lines_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        with show_progress(CHUNKS) as shown:
            shown.watch(Tally(audio_bytes=100))
            shown.write_line("a line")
            assert (tmp_path / "stderr").read_text() == "a line\n", "at once"
    assert (tmp_path / "stderr").read_text() == "a line\n"


def _read_into(output: bytearray, terminal: int) -> None:
    """Read a pseudo-terminal until its other end is closed; it buffers no more than a page."""
    while True:
        try:
            output += os.read(terminal, 4096)
        except OSError:
            return


@pytest.mark.parametrize(("columns", "frame"), [(200, b" episodes/s, 1.00MB]"), (40, b" 40%")])
def test_a_terminal_gets_a_bar_that_fits(monkeypatch: pytest.MonkeyPatch, columns: int, frame: bytes) -> None:
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    output = bytearray()
    with ThreadPoolExecutor(1) as pool, os.fdopen(writer, "w") as terminal:
        pool.submit(_read_into, output, reader)
        monkeypatch.setattr("sys.stderr", terminal)
        with show_progress(CHUNKS) as shown:
            shown.watch(Tally(episodes_with_rows=2, audio_bytes=10**6))
            assert wait_until(lambda: frame in output, 10.0), output
            shown.write_line("a line")
    os.close(reader)
    frames = [re.sub(r"\x1b\[\w", "", frame) for frame in re.split(r"[\r\n]", output.decode())]
    assert "a line" in frames
    assert max(map(len, frames)) <= columns
    assert frames[-1].strip() == "", "the bar is cleared"
