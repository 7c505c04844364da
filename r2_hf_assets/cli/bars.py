"""Progress of `r2-hf process`: counts, a line a chunk, and on a terminal a bar below them.

    62%|██████    | 620/1000 episodes, 12.3 GB, 98.2 MB/s [02:05<01:16]

The bar counts episodes, because the bytes of a chunk are not known before they are fetched. A thread draws it every
second, so that clock and rate stay true during a long upload. In a pipe there are lines only.
"""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r2_hf_assets.assets.launch import ChunkRun
    from r2_hf_assets.plan.chunks import Planned
    from r2_hf_assets.shards.record import Tally

_TICK_S = 1.0
# Row groups come in bursts: the rate is that of the last half minute.
_WINDOW_TICKS = 30
_FORMAT = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} episodes{postfix} [{elapsed}<{remaining}]"

# (seconds on a monotonic clock, bytes built by then), one a tick.
Marks = deque[tuple[float, int]]


class Progress:
    """What became of `total` chunks so far.

    Attributes:
        say: writes a line above the bar.
        done, failed, passed_over: finished chunks by outcome.
        built: (episodes, audio bytes) of the chunks done and of the one that is being built.
    """

    def __init__(self, total: int, say: Callable[[str], None]) -> None:
        self.say = say
        self.done = self.failed = self.passed_over = 0
        self.built = (0, 0)
        self._total = total
        self._finished = (0, 0)
        self._stop: str | None = None
        self._started = time.monotonic()

    def watch(self, tally: "Tally") -> None:
        """Take the running tally of a build."""
        self.built = (self._finished[0] + tally.episodes_read, self._finished[1] + tally.audio_bytes)

    def finish(self, run: "ChunkRun") -> bool:
        """Count a chunk and write its line; returns whether it was the last of all."""
        now, size = time.monotonic(), self.built[1] - self._finished[1]
        seconds, self._started = now - self._started, now
        if run.error:
            self.failed += 1
            outcome = f"FAILED: {run.error} (run {run.run_id}) in {seconds:.1f} s"
        elif run.run_id:
            self.done += 1
            outcome = f"done, {run.chunk.episodes:,} episodes, {in_bytes(size)} in {seconds:.1f} s"
        else:
            self.passed_over += 1
            outcome = "committed by another run meanwhile, passed over"
        if not run.error:
            self._finished = (self._finished[0] + run.chunk.episodes, self._finished[1] + size)
        self.built, self._stop = self._finished, run.stop
        count = self.done + self.failed + self.passed_over
        self.say(f"{run.key}: {outcome}; {count} of {self._total}")
        return count == self._total

    def summary(self) -> str:
        """The counts, and what is left."""
        line = f"{self.done} chunks done, {self.failed} failed"
        if self.passed_over:
            line += f", {self.passed_over} committed by others"
        if self._stop:
            left = self._total - self.done - self.passed_over
            return f"{line}; stopped, because {self._stop}; {left} are not done"
        return line + ("; the failed ones are still due" if self.failed else "")


@contextmanager
def show_progress(chunks: Sequence["Planned"]) -> Iterator[Progress]:
    """The progress of these chunks, on stderr."""
    from tqdm import tqdm

    # A descriptor of its own: while a step runs, Dagster redirects stderr into the run's log.
    descriptor = os.dup(sys.stderr.fileno())
    with os.fdopen(descriptor, "w", buffering=1, encoding="utf-8", errors="replace") as stderr:
        progress = Progress(len(chunks), say=lambda line: tqdm.write(line, file=stderr))
        over = threading.Event()
        with tqdm(
            total=sum(chunk.episodes for chunk in chunks),
            file=stderr,
            disable=not stderr.isatty(),
            dynamic_ncols=True,
            bar_format=_FORMAT,
            smoothing=0,
            leave=False,
        ) as bar:
            thread = threading.Thread(target=_draw, args=(bar, progress, over), name="bars", daemon=True)
            thread.start()
            try:
                yield progress
            finally:
                over.set()
                thread.join()


def _draw(bar: Any, progress: Progress, over: threading.Event) -> None:
    """Draw the bar every second, unless it is disabled."""
    marks: Marks = deque(maxlen=_WINDOW_TICKS + 1)
    while not bar.disable:
        bar.n, count = progress.built
        marks.append((time.monotonic(), count))
        failed = f", {progress.failed} chunks FAILED" if progress.failed else ""
        bar.set_postfix_str(f"{in_bytes(count)}, {in_bytes(rate(marks))}/s{failed}")
        if over.wait(_TICK_S):
            return


def rate(marks: Marks) -> float:
    """Bytes a second from the first mark to the last."""
    (start, before), (end, after) = marks[0], marks[-1]
    # The bytes of a chunk that failed are taken back.
    return max(0, after - before) / (end - start) if end > start else 0.0


def in_bytes(count: float) -> str:
    """12.3 GB"""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
