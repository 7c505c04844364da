"""The progress of `r2-hf process`: what it counts, and who sees a bar."""

import io
import os
import pty
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from r2_hf_assets.cli.bars import Progress, in_bytes, show_progress
from r2_hf_assets.plan.chunks import Planned
from r2_hf_assets.shards.record import Tally

CHUNKS = [Planned("en", 0, "a", 2), Planned("en", 1, "b", 3)]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def progress(clock: Clock) -> Progress:
    return Progress(5, say=lambda line: None, clock=clock)


def test_what_is_built() -> None:
    counted = progress(Clock())
    counted.watch(Tally(episodes=2, episodes_with_rows=1, audio_bytes=100))
    assert counted.built == (1, 100)
    counted.watch(Tally(episodes=2, episodes_with_rows=1, episodes_rejected=1, audio_bytes=150))
    assert (counted.done(CHUNKS[0], True), counted.built) == (150, (2, 150))
    counted.watch(Tally(episodes=3, episodes_with_rows=2, audio_bytes=1000))
    assert counted.built == (4, 1150)
    assert (counted.done(CHUNKS[1], False), counted.built, counted.failed) == (1000, (2, 150), 1)


def test_the_rate_is_that_of_late() -> None:
    clock = Clock()
    counted = progress(clock)
    assert counted.rate() == 0.0
    for second in range(1, 101):
        clock.now = second
        counted.watch(Tally(audio_bytes=1000 * min(second, 50)))
        rate = counted.rate()
        if second == 50:
            assert rate == 1000.0
    assert rate == 0.0


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12.34e9, "12.3 GB"), (5e15, "5000.0 TB")]
)
def test_bytes_for_people(count: float, said: str) -> None:
    assert in_bytes(count) == said


def test_a_pipe_gets_lines_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr("sys.stderr", pipe)
    with show_progress(CHUNKS) as shown:
        shown.watch(Tally(audio_bytes=100))
        shown.say("a line")
        shown.done(CHUNKS[0], True)
    assert pipe.getvalue() == "a line\n"


def _read_all(terminal: int) -> Iterator[bytes]:
    """What is written to a pseudo-terminal until its other end is closed; it holds no more than a page unread."""
    while True:
        try:
            yield os.read(terminal, 4096)
        except OSError:
            return


@pytest.mark.parametrize("columns", [200, 40])
def test_a_terminal_gets_a_bar_that_fits(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with ThreadPoolExecutor(1) as pool, os.fdopen(theirs, "w") as terminal:
        reading = pool.submit(lambda: list(_read_all(ours)))
        monkeypatch.setattr("sys.stderr", terminal)
        with show_progress(CHUNKS) as shown:
            shown.watch(Tally(episodes_with_rows=2, audio_bytes=10**6))
            shown.say("a line")
            shown.done(CHUNKS[0], True)
    seen = b"".join(reading.result()).decode()
    os.close(ours)
    frames = [re.sub(r"\x1b\[\w", "", frame) for frame in re.split(r"[\r\n]", seen)]
    assert "a line" in frames
    assert max(map(len, frames)) <= columns
    if columns == 200:
        assert [frame for frame in frames if "2/5 episodes, 1.0 MB, " in frame]
