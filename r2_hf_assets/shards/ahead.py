"""Builds the next chunk while the one before it is being committed, for whoever runs many chunks in one process.

A commit waits for the line to the Hub, a build for the line from the bucket; one after the other, each line idles half
of the time. Runs of a backfill overlap by themselves, being processes beside each other. In one process runs must take
turns (Dagster 1.13 deadlocks when two share one: each sets up logging anew), so it is the build alone, which knows
nothing of Dagster, that goes ahead: in a thread, one chunk, begun when the build before it is done.

A build that was made ahead is no other than one made in its own run: it lies in a private folder until that run checks
and publishes it. One that failed ahead is forgotten, and its run builds by itself and meets whatever it was.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field

from r2_hf_assets.bucket.client import object_store
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.build import Build, build_chunk
from r2_hf_assets.shards.record import Tally
from r2_hf_assets.shards.store import open_shards

_log = logging.getLogger(__name__)

Progress = Callable[[Tally], None]
# Told a chunk's digest and its running tally after each row group, from whichever thread builds it.
Watch = Callable[[str, Tally], None]
# Builds a chunk, telling the progress; the build's files are gone when the context is left.
Building = Callable[[Progress], AbstractContextManager[Build]]


class _Dropped(Exception):
    """Nobody wants this build any more."""


@dataclass
class _Started:
    """A build in its thread. `stack` keeps its files until the build was used."""

    digest: str
    thread: threading.Thread
    stack: ExitStack = field(default_factory=ExitStack)
    build: Build | None = None
    dropped: bool = False


class BuildAhead:
    """At most one chunk, announced by `announce`, begun by `begin`, handed over by `built`."""

    def __init__(self) -> None:
        self._next: tuple[str, Building] | None = None
        self._started: _Started | None = None
        self._watch: Watch | None = None

    @contextmanager
    def watched(self, watch: Watch) -> Iterator[None]:
        """Let somebody follow every build of this process, made ahead or not, until the block ends."""
        self._watch = watch
        try:
            yield
        finally:
            self._watch = None

    def announce(self, digest: str, building: Building) -> None:
        """Say which chunk will be wanted next; nothing starts yet."""
        self._next = (digest, building)

    def begin(self) -> None:
        """Start what was announced. Nothing announced: nothing happens."""
        if self._next is None:
            return
        (digest, building), self._next = self._next, None
        self.drop()
        thread = threading.Thread(target=lambda: self._work(started, building), name="build-ahead", daemon=True)
        self._started = started = _Started(digest, thread)
        thread.start()

    @contextmanager
    def built(self, digest: str, building: Building, progress: Progress) -> Iterator[Build]:
        """The build of this chunk: the one made ahead when it is this chunk's and went well, else one made now."""
        started, self._started = self._started, None
        if started is not None:
            if started.digest != digest:
                started.dropped = True
            started.thread.join()
            with started.stack:
                if started.build is not None and not started.dropped:
                    yield started.build
                    return

        def told(tally: Tally) -> None:
            progress(tally)
            self._tell(digest, tally)

        with building(told) as build:
            yield build

    def _tell(self, digest: str, tally: Tally) -> None:
        if self._watch is not None:
            self._watch(digest, tally)

    def drop(self) -> None:
        """Forget what was announced or begun; a build in its thread is waited for, it ends with its row group."""
        self._next = None
        started, self._started = self._started, None
        if started is not None:
            started.dropped = True
            started.thread.join()
            started.stack.close()

    def _work(self, started: _Started, building: Building) -> None:
        def progress(tally: Tally) -> None:
            if started.dropped:
                raise _Dropped
            self._tell(started.digest, tally)

        try:
            started.build = started.stack.enter_context(building(progress))
        except Exception as error:
            _log.debug("not built ahead: %s", error)


@contextmanager
def building(settings: Settings, chunk: Chunk, progress: Progress) -> Iterator[Build]:
    """Build a chunk into a private folder that is gone afterwards."""
    assert settings.r2 is not None
    bucket, limits, workers = object_store(settings.r2), settings.shards, settings.r2.workers
    with open_shards(limits, settings.r2).building() as folder:
        yield build_chunk(chunk, bucket, folder, limits, workers=workers, progress=progress)


# Of this process.
AHEAD = BuildAhead()
