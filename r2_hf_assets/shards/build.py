"""Builds one chunk: metadata -> segments -> audio -> row groups -> parts -> an upload, streaming, in plan order.

Two ordered fetches are nested: metadata a few episodes ahead, audio many requests ahead across episodes. So one slow
episode stalls nothing, and memory is bounded by the row group, the prefetch and the requests in flight. Every segment
ends as a row or in the ledger; a transient error fails the build and never rejects anything.
"""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta

from r2_hf_assets.bucket.listing import age_of_newest
from r2_hf_assets.bucket.response import Fetched, GetResult
from r2_hf_assets.bucket.segments import METADATA_NAME, Reject, Segment, audio_fault
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import StillUploading
from r2_hf_assets.memory import clear_frames, limit_free_memory, release_free_memory
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.retry import Retry, default_retry
from r2_hf_assets.settings import ShardSettings
from r2_hf_assets.shards.names import rejects_name, shard_names
from r2_hf_assets.shards.observe import Observer
from r2_hf_assets.shards.quality import check_all
from r2_hf_assets.shards.record import BuildRecord, ShardFile, Tally
from r2_hf_assets.shards.rejects import rejects_file
from r2_hf_assets.shards.rowgroup import RowGroup
from r2_hf_assets.shards.source import METADATA_MISSING, Source
from r2_hf_assets.shards.verify import Audit, check_ledger
from r2_hf_assets.shards.writer import PartWriter, Upload, group_limit

# Metadata files are a few hundred kB at the most; eight at a time keep hundreds of audio requests fed.
_METADATA_WORKERS = 8
# Row groups between two releases of free memory. After each one it would cost a tenth of the CPU, and give 10 MB more.
_ROWGROUPS_A_RELEASE = 4
LEDGER = "ledger"
_MAY_STILL_COME = ("audio_missing", "audio_empty")


@dataclass(frozen=True)
class Build:
    """A built chunk whose parts are on their way.

    The record has the verdicts of the checks, or that of the ledger alone when it fails. `rejects` is the content of
    the ledger, None when nothing was rejected.
    """

    record: BuildRecord
    rejects: bytes | None
    seconds: float


@dataclass
class _Output:
    """Where entries go: segments with their audio through row groups into parts, rejects into the ledger; all counted.

    A class and no nested functions: those would stay with an error's traceback, and whatever they refer to.
    """

    chunk: ChunkManifest
    source: Source
    group: RowGroup
    writer: PartWriter
    progress: Callable[[Tally], None] | None

    def __post_init__(self) -> None:
        self.tally = Tally(episodes=len(self.chunk.episodes))
        self.audit, self.observer = Audit(self.chunk), Observer()
        self.rejects: list[Reject] = []
        self._without_row = dict.fromkeys(self.chunk.episodes)
        self._written = 0

    def add_episode(self, episode: str, entries: int) -> None:
        self.tally.entries += entries
        self.audit.read(episode, entries)

    def add(self, item: Segment | Reject, fetched: GetResult) -> None:
        """Take an entry with its audio, or an episode that is rejected.

        Raises:
            StillUploading: audio or metadata is missing, and the episode is too young to call it lost.
        """
        if isinstance(item, Reject):
            if item.reason == METADATA_MISSING:
                age = age_of_newest(self.source.bucket, f"{self.chunk.prefix}{item.episode}/", self.source.retry)
                if age is not None and age < self.source.settle:
                    raise self._still_uploading(item.episode, METADATA_NAME)
            self._reject(item)
        elif (fault := audio_fault(fetched)) is not None:
            reason, detail = fault
            if item.settling and reason in _MAY_STILL_COME:
                raise self._still_uploading(item.episode, item.key)
            self._reject(Reject("segment", item.episode, item.key, reason, detail))
        elif isinstance(fetched, Fetched):
            self._add_row(item, fetched)

    def _add_row(self, segment: Segment, fetched: Fetched) -> None:
        if not self.group.has_room(segment, fetched.size):
            self._flush()
        self.group.add(segment, fetched.pieces)
        tally = self.tally
        tally.rows += 1
        tally.audio_bytes += fetched.size
        tally.repaired_texts += segment.repaired
        if segment.episode in self._without_row:
            del self._without_row[segment.episode]
            tally.episodes_with_rows += 1

    def _reject(self, item: Reject) -> None:
        self.rejects.append(item)
        tally = self.tally
        tally.rejects[item.reason] = tally.rejects.get(item.reason, 0) + 1
        tally.segments_rejected += item.level == "segment"
        if item.level == "episode":
            tally.episodes_rejected += 1
            del self._without_row[item.episode]

    def _still_uploading(self, episode: str, missing: str) -> StillUploading:
        return StillUploading(
            f"{episode} is still uploading: {missing} is missing, and the episode was written less than "
            f"{self.source.settle.total_seconds() / 60:g} minutes (SETTLE_MINUTES) ago; run this partition again later"
        )

    def finish(self) -> None:
        """Write what is left, and reject the episodes that have no row."""
        self._flush()
        for episode in list(self._without_row):
            self._reject(Reject("episode", episode, self.chunk.metadata_key(episode), "no_usable_segment"))

    def _flush(self) -> None:
        if len(self.group):
            table = self.group.to_table()
            self.observer.take(table)
            self.audit.given(table)
            self.writer.write(table, self.group.size)
            self.group.clear()
            self._written += 1
            if self._written % _ROWGROUPS_A_RELEASE == 0:
                release_free_memory()
            if self.progress:
                self.progress(self.tally)


def build_chunk(
    chunk: ChunkManifest,
    bucket: Bucket,
    upload: Upload,
    limits: ShardSettings,
    *,
    workers: int,
    retry: Retry | None = None,
    progress: Callable[[Tally], None] | None = None,
) -> Build:
    """Fetch a chunk, write its shards into `upload`, and check what was built while the last blocks are sent.

    Args:
        progress: called with the running tally after each row group.

    Raises:
        StillUploading: an episode's upload is not finished yet.
        RetriesExhausted, AccessError: the bucket can't be read.
        ShardError: other bytes arrived than were written.
    """
    source = Source(bucket, timedelta(minutes=limits.settle_minutes), retry or default_retry())
    limit_free_memory()
    try:
        return _build(chunk, source, upload, limits, workers, progress)
    except BaseException as error:
        clear_frames(error)  # they hold a row group and bodies, for as long as anybody holds the error
        raise
    finally:
        release_free_memory()


def _build(
    chunk: ChunkManifest,
    source: Source,
    upload: Upload,
    limits: ShardSettings,
    workers: int,
    progress: Callable[[Tally], None] | None,
) -> Build:
    started = time.monotonic()
    group = RowGroup(group_limit(limits.rowgroup_bytes, limits.max_bytes))
    with PartWriter(upload, limits.max_bytes) as writer:
        output = _Output(chunk, source, group, writer, progress)
        with (
            closing(source.items(chunk, _METADATA_WORKERS, output.add_episode)) as items,
            closing(source.audio(items, workers)) as audio,
        ):
            for item, fetched in audio:
                output.add(item, fetched)
        output.finish()
    files = tuple(
        ShardFile(name, part.rows, part.size, part.sha256)
        for name, part in zip(shard_names(chunk.number, len(writer.parts)), writer.parts, strict=True)
    )
    rejects, content = rejects_file(rejects_name(chunk.number), output.rejects)
    stats, audit = output.observer.stats(), output.audit
    record = BuildRecord(chunk.language, chunk.number, chunk.digest, files, rejects, output.tally, stats)
    verdicts = {LEDGER: check_ledger(audit, record, content)}
    seconds = time.monotonic() - started
    if verdicts[LEDGER].passed:
        verdicts |= check_all(output.observer, audit.key_of)
    return Build(replace(record, verdicts=verdicts), content, seconds)
