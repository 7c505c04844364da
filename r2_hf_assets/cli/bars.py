"""How far `r2-hf process` is: two bars on a terminal, in episodes and bytes; nothing but lines in a pipe.

    built      62%|██████    | 620/1000 episodes, 12.3 GB, 98.2 MB/s [02:05<01:16]
    committed  42%|████      | 420/1000 episodes, 8.1 GB [02:05<02:52]

The upper one moves with every row group (the data plane tells whoever watches its builds), the lower one with every
chunk that is on the Hub. How many bytes there will be, nobody knows before they are fetched; so the bars are of
episodes, and the bytes and their rate stand beside them. A thread lets the clock go on while an upload takes its time.
"""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from r2_hf_assets.plan.chunks import Planned
    from r2_hf_assets.shards.record import Tally

_TICK_S = 1.0
# Row groups come in bursts: the rate is that of the last half minute.
_WINDOW_S = 30.0
_FORMAT = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} episodes{postfix} [{elapsed}<{remaining}]"


@dataclass
class Progress:
    """What was built and committed so far, by chunk digest. `show` is called when that has changed."""

    total: int
    say: Callable[[str], None]
    show: Callable[["Progress"], None] = lambda progress: None
    clock: Callable[[], float] = time.monotonic
    failed: int = 0
    _built: dict[str, tuple[int, int]] = field(default_factory=dict)
    _committed: set[str] = field(default_factory=set)
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def watch(self, digest: str, tally: "Tally") -> None:
        """Take a build's running tally; called from whichever thread builds."""
        self._built[digest] = (tally.episodes_with_rows + tally.episodes_rejected, tally.audio_bytes)
        self.show(self)

    def done(self, chunk: "Planned", well: bool) -> None:
        """Take a chunk's end: it is on the Hub, or it failed."""
        if well:
            self._built[chunk.digest] = (chunk.episodes, self.bytes_of(chunk))
            self._committed.add(chunk.digest)
        else:
            self.failed += 1
            self._built.pop(chunk.digest, None)
        self.show(self)

    def bytes_of(self, chunk: "Planned") -> int:
        """Audio bytes of a chunk as far as it was built."""
        return self._built.get(chunk.digest, (0, 0))[1]

    @property
    def built(self) -> tuple[int, int]:
        """Episodes and audio bytes that were built."""
        return _sum(self._built.copy().values())

    @property
    def committed(self) -> tuple[int, int]:
        """Episodes and audio bytes of chunks that are on the Hub."""
        return _sum(counted for digest, counted in self._built.copy().items() if digest in self._committed)

    def rate(self) -> float:
        """Audio bytes a second that were built lately."""
        now, count = self.clock(), self.built[1]
        self._marks.append((now, count))
        while len(self._marks) > 2 and now - self._marks[1][0] >= _WINDOW_S:
            self._marks.popleft()
        then, before = self._marks[0]
        return max(0, count - before) / (now - then) if now > then else 0.0


def _sum(counted: Any) -> tuple[int, int]:
    episodes, count = 0, 0
    for one in counted:
        episodes, count = episodes + one[0], count + one[1]
    return episodes, count


@contextmanager
def show_progress(chunks: Sequence["Planned"]) -> Iterator[Progress]:
    """The progress of these chunks, in bars where somebody looks."""
    total = sum(chunk.episodes for chunk in chunks)
    with _stderr() as stderr:
        if not stderr.isatty():
            yield Progress(total, say=lambda line: _write(stderr, line))
            return
        from tqdm import tqdm  # type: ignore[import-untyped]

        options = {
            "total": total,
            "file": stderr,
            "dynamic_ncols": True,
            "bar_format": _FORMAT,
            "smoothing": 0,
            "leave": False,
        }
        with (
            tqdm(desc="built    ", position=0, **options) as upper,
            tqdm(desc="committed", position=1, **options) as lower,
        ):

            def show(progress: Progress) -> None:
                episodes, count = progress.built
                upper.n = episodes
                upper.set_postfix_str(f"{in_bytes(count)}, {in_bytes(progress.rate())}/s")
                episodes, count = progress.committed
                lower.n = episodes
                failed = f", {progress.failed} chunks FAILED" if progress.failed else ""
                lower.set_postfix_str(f"{in_bytes(count)}{failed}")

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
