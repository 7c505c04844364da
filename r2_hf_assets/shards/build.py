"""Builds one chunk: metadata -> segments -> audio -> row groups -> parts -> an upload, streaming, in plan order.

Two ordered fetches run inside one another: metadata a few episodes ahead, audio many requests ahead across episodes.
So one slow episode stalls nothing, and memory is bounded by the row group, the look-ahead and the requests in flight,
not by the chunk. Every segment ends as a row or in the ledger; a transient error raises and fails the build, it never
rejects anything.
"""

import gc
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta

from r2_hf_assets.bucket.fetch import fetch_in_order
from r2_hf_assets.bucket.listing import age_of_newest
from r2_hf_assets.bucket.response import Fetched, Found
from r2_hf_assets.bucket.segments import (
    METADATA_MAX_BYTES,
    Reject,
    Segment,
    UnusableMetadata,
    audio_fault,
    read_metadata,
    to_segment,
)
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import StillUploading
from r2_hf_assets.memory import clear_frames, give_memory_back, release
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.retry import Retry, default_retry
from r2_hf_assets.settings import MAX_ROWGROUP_BYTES, ShardSettings
from r2_hf_assets.shards.names import rejects_name, shard_names
from r2_hf_assets.shards.observe import Observed, Observer
from r2_hf_assets.shards.record import BuildRecord, ShardFile, Tally
from r2_hf_assets.shards.rejects import RejectLedger
from r2_hf_assets.shards.rowgroup import RowGroup
from r2_hf_assets.shards.verify import Audit, check_ledger
from r2_hf_assets.shards.writer import PartWriter, Upload, group_limit
from r2_hf_assets.verdict import Verdict

# Metadata files are a few hundred kB at the most; eight at a time keep hundreds of audio requests fed.
_METADATA_WORKERS = 8
_LOOKAHEAD_BYTES = 32 * 2**20
# Bodies come and go between objects that stay, and leave holes in malloc's heap: row groups between two releases. At
# each one it would cost a tenth of the CPU, and gives 10 MB more.
_ROWGROUPS_A_RELEASE = 4
_MAY_STILL_COME = ("audio_missing", "audio_empty")


@dataclass(frozen=True)
class Build:
    """A built chunk whose parts are on their way.

    Attributes:
        rejects: the content of the ledger; None when nothing was rejected.
        ledger: what the ledger check says.
        observed: what was seen of the rows.
        audit: what the ledger check counted.
    """

    record: BuildRecord
    rejects: bytes | None
    ledger: Verdict
    audit: Audit
    seconds: float
    observed: Observed


@dataclass
class _Source:
    """Reads a chunk's segments and their audio from the bucket."""

    chunk: Chunk
    bucket: Bucket
    workers: int
    settle: timedelta
    tally: Tally
    audit: Audit
    retry: Retry

    def items(self) -> Generator[Segment | Reject, None, None]:
        """Every entry of every episode, in order, as a segment or a reject; episodes that can't be read as a reject."""
        fetch = fetch_in_order(
            self.chunk.episodes,
            self.chunk.metadata_key,
            self.bucket,
            workers=_METADATA_WORKERS,
            max_bytes=_LOOKAHEAD_BYTES,
            limit=METADATA_MAX_BYTES,
            retry=self.retry,
        )
        with closing(fetch) as metadata:  # or its threads live on for as long as somebody holds the error
            for episode, fetched in metadata:
                try:
                    yield from self._entries(episode, fetched)
                except UnusableMetadata as problem:
                    key = self.chunk.metadata_key(episode)
                    yield Reject("episode", episode, key, problem.reason, problem.detail)

    def _entries(self, episode: str, fetched: Found) -> Iterator[Segment | Reject]:
        if fetched is None:
            age = age_of_newest(self.bucket, f"{self.chunk.prefix}{episode}/", self.retry)
            if age is not None and age < self.settle:
                raise self._still_uploading(episode, "all_segments.json")
            raise UnusableMetadata("metadata_missing", "no all_segments.json in the episode's folder")
        entries, repaired = read_metadata(fetched)
        if not entries:
            raise UnusableMetadata("no_segments", "an empty list")
        settling = isinstance(fetched, Fetched) and fetched.age < self.settle
        self.tally.entries += len(entries)
        self.audit.read(episode, len(entries))
        prefix = self.chunk.audio_prefix(episode)
        for index, entry in enumerate(entries):
            yield to_segment(
                entry,
                index,
                episode=episode,
                audio_prefix=prefix,
                language=self.chunk.language,
                settling=settling,
                repaired=repaired,
            )

    def audio(self) -> Iterator[tuple[Segment | Reject, Found]]:
        """Items with their audio, in order."""
        with closing(self.items()) as items:
            yield from fetch_in_order(
                items,
                lambda item: item.key if isinstance(item, Segment) else None,
                self.bucket,
                workers=self.workers,
                max_bytes=_LOOKAHEAD_BYTES,
                limit=MAX_ROWGROUP_BYTES,
                retry=self.retry,
            )

    def reject_for(self, segment: Segment, fetched: Found) -> Reject | None:
        """Why this segment can be no row; None when it can.

        Raises:
            StillUploading: the audio is missing or empty, and the metadata is too young to call it lost.
        """
        fault = audio_fault(fetched)
        if fault is None:
            return None
        reason, detail = fault
        if segment.settling and reason in _MAY_STILL_COME:
            raise self._still_uploading(segment.episode, segment.key)
        return Reject("segment", segment.episode, segment.key, reason, detail)

    def _still_uploading(self, episode: str, missing: str) -> StillUploading:
        return StillUploading(
            f"{episode} is still uploading: {missing} is missing, and the episode was written less than "
            f"{self.settle.total_seconds() / 60:g} minutes (SETTLE_MINUTES) ago; run this partition again later"
        )


@dataclass
class _Output:
    """Where entries go: segments with their audio through row groups into parts, rejects into the ledger; all counted.

    A class and no nested functions: those would stay with an error's traceback, and whatever they refer to.
    """

    chunk: Chunk
    group: RowGroup
    writer: PartWriter
    ledger: RejectLedger
    observer: Observer
    tally: Tally
    progress: Callable[[Tally], None] | None

    def __post_init__(self) -> None:
        self._rows_of: dict[str, int] = dict.fromkeys(self.chunk.episodes, 0)
        self._flushed = 0

    def add(self, segment: Segment, fetched: Fetched) -> None:
        """Take a row."""
        if not self.group.has_room(segment, fetched.size):
            self._flush()
        self.group.add(segment, fetched.pieces)
        tally = self.tally
        tally.rows += 1
        tally.audio_bytes += fetched.size
        tally.repaired_texts += segment.repaired
        tally.episodes_with_rows += not self._rows_of[segment.episode]  # for who watches; counted again at the end
        self._rows_of[segment.episode] += 1

    def reject(self, item: Reject) -> None:
        """Take what becomes no row."""
        self.ledger.add(item)
        tally = self.tally
        tally.rejects[item.reason] = tally.rejects.get(item.reason, 0) + 1
        tally.segments_rejected += item.level == "segment"
        tally.episodes_rejected += item.level == "episode"
        if item.level == "episode":
            del self._rows_of[item.episode]

    def finish(self) -> None:
        """Write what is left, and reject the episodes that have no row."""
        self._flush()
        for episode in [episode for episode, rows in self._rows_of.items() if not rows]:
            self.reject(Reject("episode", episode, self.chunk.metadata_key(episode), "no_usable_segment"))
        self.tally.episodes_with_rows = len(self._rows_of)

    def _flush(self) -> None:
        if len(self.group):
            table = self.group.to_table()
            self.observer.take(table)
            self.writer.write(table, self.group.size)
            self.group.clear()
            self._flushed += 1
            if self._flushed % _ROWGROUPS_A_RELEASE == 0:
                release()
            if self.progress:
                self.progress(self.tally)


def build_chunk(
    chunk: Chunk,
    bucket: Bucket,
    upload: Upload,
    limits: ShardSettings,
    *,
    workers: int,
    retry: Retry | None = None,
    progress: Callable[[Tally], None] | None = None,
) -> Build:
    """Fetch a chunk, write its shards into `upload`, and check its ledger.

    Args:
        progress: called with the running tally after each row group.

    Raises:
        StillUploading: an episode's upload is not finished yet.
        GaveUp, AccessError: the bucket can't be read.
        ShardError: other bytes arrived than were written.
    """
    try:
        return _build(chunk, bucket, upload, limits, workers, retry or default_retry(), progress)
    except BaseException as error:
        clear_frames(error)  # they hold a row group and bodies, for as long as anybody holds the error
        raise


def _build(
    chunk: Chunk,
    bucket: Bucket,
    upload: Upload,
    limits: ShardSettings,
    workers: int,
    retry: Retry,
    progress: Callable[[Tally], None] | None,
) -> Build:
    started = time.monotonic()
    tally = Tally(episodes=len(chunk.episodes))
    settle = timedelta(minutes=limits.settle_minutes)
    audit, ledger = Audit(chunk), RejectLedger()
    source = _Source(chunk, bucket, workers, settle, tally, audit, retry)
    group = RowGroup(group_limit(limits.rowgroup_bytes, limits.max_bytes))
    observer = Observer()
    with _frozen(), PartWriter(upload, limits.max_bytes, audit.given) as writer:
        output = _Output(chunk, group, writer, ledger, observer, tally, progress)
        for item, fetched in source.audio():
            if isinstance(item, Reject):
                output.reject(item)
            elif (problem := source.reject_for(item, fetched)) is not None:
                output.reject(problem)
            elif isinstance(fetched, Fetched):
                output.add(item, fetched)
        output.finish()
    files = tuple(
        ShardFile(name, part.rows, part.size, part.sha256)
        for name, part in zip(shard_names(chunk.number, len(writer.parts)), writer.parts, strict=True)
    )
    rejects, content = ledger.finish(rejects_name(chunk.number)) or (None, None)
    observed = observer.observed()
    record = BuildRecord(chunk.language, chunk.number, chunk.digest, files, rejects, tally, observed.stats)
    verdict = check_ledger(audit, record, writer.parts, content)
    return Build(record, content, verdict, audit, time.monotonic() - started, observed)


@contextmanager
def _frozen() -> Iterator[None]:
    """Spare the garbage collector what was there before: it would look at it again with every few thousand rows."""
    give_memory_back()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        release()
