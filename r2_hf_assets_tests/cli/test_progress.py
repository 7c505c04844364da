"""The progress of `r2-hf process`: what it counts, and who sees a bar."""

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


def counting(lines: list[str]) -> Progress:
    return Progress(2, tqdm(disable=True), lines.append)


def test_what_is_built_and_the_lines() -> None:
    lines: list[str] = []
    counted = counting(lines)
    counted.watch(Tally(episodes=2, episodes_with_rows=1, audio_bytes=100))
    counted.watch(Tally(episodes=2, episodes_with_rows=1, episodes_rejected=1, audio_bytes=150))
    assert not counted.finish(run(0))
    counted.watch(Tally(episodes=3, episodes_with_rows=2, audio_bytes=1000))
    assert counted.bar.n == 4
    assert counted.finish(run(1, error="it is damaged"))
    assert (counted.bar.n, counted.failed) == (2, 1), "what failed is taken back"
    assert [re.sub(r" \d+\.\d s;", " T s;", line) for line in lines] == [
        "en|chunk_0000: done, 2 episodes, 150B in T s; 1 of 2",
        "en|chunk_0001: FAILED: it is damaged (run r) in T s; 2 of 2",
    ]


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([run(0), run(1)], "2 chunks done, 0 failed"),
        ([run(0), run(1, "")], "1 chunks done, 0 failed, 1 committed by others"),
        ([run(0, error="x"), run(1)], "1 chunks done, 1 failed; the failed ones are still due"),
        ([run(0, error="x", stop="so it is")], "0 chunks done, 1 failed; stopped, because so it is; 2 are not done"),
    ],
)
def test_the_sum(runs: list[ChunkRun], said: str) -> None:
    counted = counting([])
    for one in runs:
        counted.finish(one)
    assert counted.summary() == said


def test_a_pipe_gets_lines_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        with show_progress(CHUNKS) as shown:
            shown.watch(Tally(audio_bytes=100))
            shown.write_line("a line")
            assert (tmp_path / "stderr").read_text() == "a line\n", "at once"
    assert (tmp_path / "stderr").read_text() == "a line\n"


def _read_into(seen: bytearray, terminal: int) -> None:
    """Read what is written to a pseudo-terminal until its other end is closed; it holds no more than a page unread."""
    while True:
        try:
            seen += os.read(terminal, 4096)
        except OSError:
            return


@pytest.mark.parametrize(("columns", "frame"), [(200, b" episodes/s, 1.00MB]"), (40, b" 40%")])
def test_a_terminal_gets_a_bar_that_fits(monkeypatch: pytest.MonkeyPatch, columns: int, frame: bytes) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    seen = bytearray()
    with ThreadPoolExecutor(1) as pool, os.fdopen(theirs, "w") as terminal:
        pool.submit(_read_into, seen, ours)
        monkeypatch.setattr("sys.stderr", terminal)
        with show_progress(CHUNKS) as shown:
            shown.watch(Tally(episodes_with_rows=2, audio_bytes=10**6))
            assert wait_until(lambda: frame in seen, 10.0), seen
            shown.write_line("a line")
    os.close(ours)
    frames = [re.sub(r"\x1b\[\w", "", frame) for frame in re.split(r"[\r\n]", seen.decode())]
    assert "a line" in frames
    assert max(map(len, frames)) <= columns
    assert frames[-1].strip() == "", "the bar is cleared"
