"""How far `r2-hf process` is: a bar on a terminal, in episodes and bytes; nothing but lines in a pipe.

    62%|██████    | 620/1000 episodes, 12.3 GB, 98.2 MB/s [02:05<01:16]

It moves with every row group (the data plane tells whoever watches its builds). How many bytes there will be, nobody
knows before they are fetched; so the bar is of episodes, and the bytes and their rate stand beside it. A thread lets
the clock go on while an upload takes its time.
"""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from r2_hf_assets.plan.chunks import Planned
    from r2_hf_assets.shards.record import Tally

_TICK_S = 1.0
# Row groups come in bursts: the rate is that of the last half minute.
_WINDOW_S = 30.0
_FORMAT = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} episodes{postfix} [{elapsed}<{remaining}]"


@dataclass
class Progress:
    """What was built so far: the chunks before, and the one at work. `show` is called when that has changed."""

    total: int
    say: Callable[[str], None]
    show: Callable[["Progress"], None] = lambda progress: None
    clock: Callable[[], float] = time.monotonic
    failed: int = 0
    _before: tuple[int, int] = (0, 0)
    _now: tuple[int, int] = (0, 0)
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def watch(self, tally: "Tally") -> None:
        """Take a build's running tally."""
        self._now = (tally.episodes_read, tally.audio_bytes)
        self.show(self)

    def done(self, chunk: "Planned", well: bool) -> int:
        """Take a chunk's end: it is on the Hub, or it failed. Returns the audio bytes that were built of it."""
        size, self._now = self._now[1], (0, 0)
        if well:
            self._before = (self._before[0] + chunk.episodes, self._before[1] + size)
        else:
            self.failed += 1
        self.show(self)
        return size

    @property
    def built(self) -> tuple[int, int]:
        """Episodes and audio bytes that were built."""
        return self._before[0] + self._now[0], self._before[1] + self._now[1]

    def rate(self) -> float:
        """Audio bytes a second that were built lately."""
        now, count = self.clock(), self.built[1]
        self._marks.append((now, count))
        while len(self._marks) > 2 and now - self._marks[1][0] >= _WINDOW_S:
            self._marks.popleft()
        then, before = self._marks[0]
        return max(0, count - before) / (now - then) if now > then else 0.0


@contextmanager
def show_progress(chunks: Sequence["Planned"]) -> Iterator[Progress]:
    """The progress of these chunks, in a bar where somebody looks."""
    total = sum(chunk.episodes for chunk in chunks)
    with _stderr() as stderr:
        if not stderr.isatty():
            yield Progress(total, say=lambda line: _write(stderr, line))
            return
        from tqdm import tqdm  # type: ignore[import-untyped]

        with tqdm(total=total, file=stderr, dynamic_ncols=True, bar_format=_FORMAT, smoothing=0, leave=False) as bar:

            def show(progress: Progress) -> None:
                bar.n, count = progress.built
                failed = f", {progress.failed} chunks FAILED" if progress.failed else ""
                bar.set_postfix_str(f"{in_bytes(count)}, {in_bytes(progress.rate())}/s{failed}")

            progress = Progress(total, say=lambda line: tqdm.write(line, file=stderr), show=show)
            show(progress)
            with _ticking(progress):
                yield progress


def _write(stream: TextIO, line: str) -> None:
    stream.write(f"{line}\n")
    stream.flush()


@contextmanager
def _stderr() -> Iterator[TextIO]:
    """A handle of its own on stderr: while a step runs, Dagster has stderr itself go into the run's log."""
    try:
        descriptor = os.dup(sys.stderr.fileno())
    except (OSError, ValueError):  # not a file at all
        yield sys.stderr
        return
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as stderr:
        yield stderr


@contextmanager
def _ticking(progress: Progress) -> Iterator[None]:
    """Show the progress again every second."""
    over = threading.Event()

    def tick() -> None:
        while not over.wait(_TICK_S):
            progress.show(progress)

    thread = threading.Thread(target=tick, name="bars", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def in_bytes(count: float) -> str:
    """12.3 GB"""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
