"""Streams one chunk in plan order: metadata -> segments -> audio -> row groups -> parts -> upload.

Two ordered prefetches are nested: metadata a few episodes ahead, audio many requests ahead across episodes. So a slow
episode does not stall the others, and memory is bounded by the row group, the prefetch and the requests in flight.
Every segment becomes a row or a reject. A transient error fails the build and rejects nothing.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
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
from r2_hf_assets.shards.audit import Audit, check_ledger
from r2_hf_assets.shards.index import IndexHeader, IndexWriter
from r2_hf_assets.shards.names import index_path, path_in_repo, shard_names
from r2_hf_assets.shards.observe import Observer
from r2_hf_assets.shards.quality import check_all
from r2_hf_assets.shards.record import BuildRecord, ShardFile, Tally
from r2_hf_assets.shards.rowgroup import RowGroup
from r2_hf_assets.shards.source import METADATA_MISSING, REMOVED, Source
from r2_hf_assets.shards.stats import Stats
from r2_hf_assets.shards.writer import PartWriter, Upload, group_limit

# A metadata file has at most a few hundred kB; eight in flight suffice for hundreds of audio requests.
_METADATA_WORKERS = 8
# Row groups between two releases of free memory. A release after each costs a tenth of the CPU and saves 10 MB.
_ROWGROUPS_PER_RELEASE = 4
LEDGER = "ledger"
_UPLOAD_PENDING = ("audio_missing", "audio_empty")
Progress = Callable[[Tally], None]


@dataclass(frozen=True)
class Build:
    """A built chunk. The record has all verdicts, or the ledger's alone when it fails."""

    record: BuildRecord
    seconds: float


class _Output:
    """Writes segments into parts, all entries into the index, and counts. No closures: they outlive clear_frames."""

    def __init__(
        self, chunk: ChunkManifest, source: Source, group: RowGroup, writer: PartWriter, progress: Progress | None
    ) -> None:
        self.chunk, self.source, self.group, self.writer, self.progress = chunk, source, group, writer, progress
        self.started = time.monotonic()
        self.tally = Tally(episodes=len(chunk.episodes))
        self.audit, self.observer = Audit(chunk), Observer()
        self.index = IndexWriter(chunk.language, chunk.number)
        self.etags: dict[str, str] = {}
        self._without_row = set(chunk.episodes)
        self._written = self._removed_segments = self._removed_episodes = 0

    def add_episode(self, episode: str, entries: int, etag: str) -> None:
        self.tally.entries += entries
        self.etags[episode] = etag
        self.audit.count_entries(episode, entries)

    def add(self, item: Segment | Reject, fetched: GetResult) -> None:
        """Add a segment with its audio, or a reject. Raises StillUploading when a missing object may still arrive."""
        if isinstance(item, Reject):
            if item.reason == METADATA_MISSING:
                age = age_of_newest(self.source.bucket, f"{self.chunk.prefix}{item.episode}/", self.source.retry)
                # The metadata was requested since the build began, maybe minutes ago, and may have arrived meanwhile.
                elapsed = timedelta(seconds=time.monotonic() - self.started)
                if self.source.settle and age is not None and age < self.source.settle + elapsed:
                    raise self._still_uploading(item.episode, METADATA_NAME)
            self._reject(item)
        elif (fault := audio_fault(fetched)) is not None:
            reason, detail = fault
            if item.settling and reason in _UPLOAD_PENDING:
                raise self._still_uploading(item.episode, item.key)
            self._reject(Reject(item.episode, item.number, item.key, reason, detail, item))
        elif isinstance(fetched, Fetched):
            self._add_row(item, fetched)

    def _add_row(self, segment: Segment, fetched: Fetched) -> None:
        if not self.group.has_room(segment, fetched.size):
            self._flush()
        self.group.add(segment, fetched.pieces)
        self.index.add_row(segment, fetched.size)
        tally = self.tally
        tally.rows += 1
        tally.audio_bytes += fetched.size
        tally.repaired_texts += segment.repaired
        if segment.episode in self._without_row:
            self._without_row.remove(segment.episode)
            tally.episodes_with_rows += 1

    def _reject(self, item: Reject) -> None:
        self.index.add_reject(item)
        self.tally.rejects[item.reason] = self.tally.rejects.get(item.reason, 0) + 1
        self.tally.segments_rejected += item.number is not None
        self.tally.episodes_rejected += item.number is None
        self._removed_segments += item.reason == REMOVED and item.number is not None
        self._removed_episodes += item.reason == REMOVED and item.number is None

    def _still_uploading(self, episode: str, missing: str) -> StillUploading:
        return StillUploading(
            f"{episode} is still uploading: {missing} is missing, and the episode was written less than "
            f"{self.source.settle.total_seconds() / 60:g} minutes (SETTLE_MINUTES) before it was read; run this "
            "partition again later"
        )

    def finish(self) -> None:
        """Write the last row group, and count the episodes that have rejects alone."""
        self._flush()
        self.tally.episodes_rejected = len(self._without_row)

    def stats(self) -> Stats:
        return replace(
            self.observer.stats(), removed_segments=self._removed_segments, removed_episodes=self._removed_episodes
        )

    def _flush(self) -> None:
        if len(self.group):
            table = self.group.to_table()
            self.observer.add(table)
            self.audit.count_rows(table)
            place = self.writer.write(table, self.group.size)
            self.index.place(*place, self.observer.hashes[-len(self.group) :])
            self.group.clear()
            self._written += 1
            if self._written % _ROWGROUPS_PER_RELEASE == 0:
                release_free_memory()
            if self.progress:
                self.progress(self.tally)


@contextmanager
def _freeing_memory() -> Iterator[None]:
    limit_free_memory()
    try:
        yield
    except BaseException as error:
        clear_frames(error)  # they hold a row group and bodies
        raise
    finally:
        release_free_memory()


@_freeing_memory()
def build_chunk(
    chunk: ChunkManifest,
    bucket: Bucket,
    upload: Upload,
    limits: ShardSettings,
    *,
    plan_id: str,
    workers: int,
    retry: Retry | None = None,
    progress: Progress | None = None,
) -> Build:
    """Fetch a chunk, write its parts and index into `upload`, and run the checks while the last blocks are sent.

    `progress` is called with the running tally after each row group. Raises StillUploading, RetriesExhausted,
    AccessError, and ShardError when a part's size differs from the bytes written.
    """
    source = Source(bucket, timedelta(minutes=limits.settle_minutes), retry or default_retry())
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
        ShardFile(path_in_repo(chunk.language, name), part.rows, part.size, part.sha256)
        for name, part in zip(shard_names(chunk.number, len(writer.parts)), writer.parts, strict=True)
    )
    header = IndexHeader(
        plan_id,
        chunk.language,
        chunk.number,
        chunk.prefix,
        chunk.digest,
        tuple((episode, output.etags.get(episode)) for episode in chunk.episodes),
        files,
        tuple(amendment.number for amendment in chunk.amendments),
        output.tally,
        output.stats(),
    )
    content = output.index.finish(header)
    index = _upload_index(chunk, content, upload, output.tally)
    record = BuildRecord(*chunk.name, chunk.digest, files, index, output.tally, output.stats())
    verdicts = {LEDGER: check_ledger(output.audit, record, content)}
    seconds = time.monotonic() - output.started
    if verdicts[LEDGER].passed:
        verdicts |= check_all(output.observer, output.audit.key_of)
    return Build(replace(record, verdicts=verdicts), seconds)


def _upload_index(chunk: ChunkManifest, content: bytes, upload: Upload, tally: Tally) -> ShardFile:
    file = upload.begin()
    file.write(content)
    stored = file.finish()
    return ShardFile(index_path(*chunk.name), tally.index_rows, stored.size, stored.sha256)
