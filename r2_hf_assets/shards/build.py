"""Streams one chunk in plan order: metadata -> segments -> audio -> row groups -> parts -> upload.

Two ordered prefetches are nested: metadata a few episodes ahead, audio many requests ahead across episodes. So a slow
episode does not stall the others, and memory is bounded by the row group, the prefetch and the requests in flight.
Every segment becomes a row or a reject. A transient error fails the build and rejects nothing.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, replace
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq

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
from r2_hf_assets.shards.names import rejects_name, shard_names
from r2_hf_assets.shards.observe import Observer
from r2_hf_assets.shards.quality import check_all
from r2_hf_assets.shards.record import BuildRecord, ShardFile, Tally
from r2_hf_assets.shards.rowgroup import RowGroup
from r2_hf_assets.shards.schema import REJECT_SCHEMA, strings
from r2_hf_assets.shards.source import METADATA_MISSING, Source
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
    """A built chunk. The record has all verdicts, or the ledger's alone when it fails; `rejects` is the ledger file."""

    record: BuildRecord
    rejects: bytes | None
    seconds: float


class _Output:
    """Writes segments into parts, collects rejects and counts both. No closures: they would outlive clear_frames."""

    def __init__(
        self, chunk: ChunkManifest, source: Source, group: RowGroup, writer: PartWriter, progress: Progress | None
    ) -> None:
        self.chunk, self.source, self.group, self.writer, self.progress = chunk, source, group, writer, progress
        self.started = time.monotonic()
        self.tally = Tally(episodes=len(chunk.episodes))
        self.audit, self.observer = Audit(chunk), Observer()
        self.rejects: list[Reject] = []
        self._without_row = dict.fromkeys(chunk.episodes)
        self._written = 0

    def add_episode(self, episode: str, entries: int) -> None:
        self.tally.entries += entries
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
            f"{self.source.settle.total_seconds() / 60:g} minutes (SETTLE_MINUTES) before it was read; run this "
            "partition again later"
        )

    def finish(self) -> None:
        """Write the last row group, and reject the episodes without a row."""
        self._flush()
        for episode in list(self._without_row):
            self._reject(Reject("episode", episode, self.chunk.metadata_key(episode), "no_usable_segment"))

    def _flush(self) -> None:
        if len(self.group):
            table = self.group.to_table()
            self.observer.add(table)
            self.audit.count_rows(table)
            self.writer.write(table, self.group.size)
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
    workers: int,
    retry: Retry | None = None,
    progress: Progress | None = None,
) -> Build:
    """Fetch a chunk, write its parts into `upload`, and run the checks while the last blocks are sent.

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
        ShardFile(name, part.rows, part.size, part.sha256)
        for name, part in zip(shard_names(chunk.number, len(writer.parts)), writer.parts, strict=True)
    )
    rejects, content = encode_ledger(rejects_name(chunk.number), output.rejects)
    stats, audit = output.observer.stats(), output.audit
    record = BuildRecord(chunk.language, chunk.number, chunk.digest, files, rejects, output.tally, stats)
    verdicts = {LEDGER: check_ledger(audit, record, content)}
    seconds = time.monotonic() - output.started
    if verdicts[LEDGER].passed:
        verdicts |= check_all(output.observer, audit.key_of)
    return Build(replace(record, verdicts=verdicts), content, seconds)


def encode_ledger(name: str, rejects: Sequence[Reject]) -> tuple[ShardFile, bytes] | tuple[None, None]:
    """Return the file entry and content of the rejects ledger, a Parquet file with one row a reject."""
    if not rejects:
        return None, None
    sink = pa.BufferOutputStream()
    arrays = [strings(column) for column in zip(*map(astuple, rejects), strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, schema=REJECT_SCHEMA), sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    return ShardFile(name, len(rejects), len(content), hashlib.sha256(content).hexdigest()), content
