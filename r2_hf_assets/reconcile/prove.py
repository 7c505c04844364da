"""Proves that files on the Hub are a chunk, whole, when no record of their build is left to compare with.

The files are read by ranges (footer and audio keys, never the audio), the episodes' metadata from the bucket again, and
the two are walked together: every row must be the next segment that the metadata names, or come after segments that are
left out; so each row is of this chunk, in plan order, and none is double. What is left out must be rightly so: its
audio is missing or unusable in the bucket now. Without the ledger nobody else could tell a segment that was rejected
from one that was lost.

The audio's bytes are not compared: what is proven is that every segment has its row.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

from r2_hf_assets.bucket.client import Store, object_store
from r2_hf_assets.bucket.fetch import fetch_in_order
from r2_hf_assets.bucket.judge import Fetched, Found
from r2_hf_assets.bucket.segments import (
    METADATA_MAX_BYTES,
    Segment,
    UnusableMetadata,
    audio_fault,
    read_metadata,
    to_segment,
)
from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.reading import Reader, UnreadableShard
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.retry import Retry, default_retry
from r2_hf_assets.settings import MAX_ROWGROUP_BYTES, Settings
from r2_hf_assets.shards.names import parts_in_order
from r2_hf_assets.shards.record import ShardFile
from r2_hf_assets.shards.schema import SCHEMA

_METADATA_WORKERS = 64
_LOOKAHEAD_BYTES = 64 * 2**20
_AUDIO_WORKERS = 32
# A chunk's row groups are asked for one after the other; a few chunks at once hide the latency.
_CHUNKS_AT_ONCE = 4

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Proof:
    """`files` in the order of their rows. `reason` says why the proof failed, None when it did not; `of_chunk` whether
    every row that was found is of the chunk all the same."""

    files: tuple[ShardFile, ...]
    reason: str | None = None
    of_chunk: bool = True


@dataclass(frozen=True)
class Source:
    """The bucket as it is now, and what counts as still being uploaded there."""

    store: Store
    settle: timedelta
    retry: Retry

    def segments(self, chunk: Chunk) -> Iterator[Segment]:
        """Every segment that should be a row if its audio can be had, in plan order."""
        with self._fetch(chunk.episodes, chunk.metadata_key, _METADATA_WORKERS, METADATA_MAX_BYTES) as metadata:
            for episode, fetched in metadata:
                if fetched is None:
                    continue
                try:
                    entries, _ = read_metadata(fetched)
                except UnusableMetadata:
                    continue
                settling = isinstance(fetched, Fetched) and fetched.age < self.settle
                prefix = chunk.audio_prefix(episode)
                for index, entry in enumerate(entries):
                    item = to_segment(
                        entry, index, episode=episode, audio_prefix=prefix, language=chunk.language, settling=settling
                    )
                    if isinstance(item, Segment):
                        yield item

    def to_be_had(self, segments: Sequence[Segment]) -> list[Segment]:
        """Those whose audio could be a row, by the rule of a build."""
        with self._fetch(segments, lambda segment: segment.key, _AUDIO_WORKERS, MAX_ROWGROUP_BYTES) as audio:
            return [segment for segment, fetched in audio if audio_fault(fetched) is None]

    def _fetch(
        self, items: Iterable[T], key: Callable[[T], str], workers: int, limit: int
    ) -> "closing[Generator[tuple[T, Found], None, None]]":
        most = _LOOKAHEAD_BYTES
        return closing(
            fetch_in_order(items, key, self.store, workers=workers, max_bytes=most, limit=limit, retry=self.retry)
        )


def open_source(settings: Settings) -> Source:
    """The bucket that the settings name."""
    return Source(object_store(settings.r2), timedelta(minutes=settings.shards.settle_minutes), default_retry())


def side_by_side(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Results in the items' order, a few at a time. Whoever stops early waits for those under way alone."""
    pool = ThreadPoolExecutor(_CHUNKS_AT_ONCE)
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)


def prove(chunk: Chunk, files: Sequence[RemoteFile], reader: Reader, source: Source) -> Proof:
    """Whether `files`, all that the Hub holds of this chunk, are the chunk, whole.

    Raises:
        AccessError, GaveUp: the Hub or the bucket can't be asked.
    """
    by_path = {file.path: file for file in files}
    paths = parts_in_order(chunk.language, chunk.number, by_path)
    try:
        shards, keys = read_rows(paths or sorted(by_path), by_path, reader, features=True)
    except UnreadableShard as damage:
        return Proof((), str(damage), of_chunk=False)
    missing = left_out(keys, source.segments(chunk))
    if isinstance(missing, str):
        reason = f"row {missing} is no segment of this chunk as the bucket has it now, or not in its place"
        return Proof((), reason, of_chunk=False)
    if paths is None:
        return Proof(tuple(shards), f"its parts are not 00 to the last: {', '.join(sorted(by_path)[:5])}")
    return Proof(tuple(shards), _incomplete(missing, source))


def read_rows(
    paths: Iterable[str], files: Mapping[str, RemoteFile], reader: Reader, *, features: bool
) -> tuple[list[ShardFile], list[str | None]]:
    """The files at these paths in the order of their rows, and the audio keys of all rows.

    Args:
        features: whether the schema must name them, as it does in what this project writes.

    Raises:
        UnreadableShard: one is damaged, or its schema is another.
    """
    shards: list[ShardFile] = []
    keys: list[str | None] = []
    for path in paths:
        schema, rows = reader.footer(files[path])
        if not schema.equals(SCHEMA):  # metadata apart
            columns = ", ".join(str(schema).splitlines())[:200]
            raise UnreadableShard(f"{path}: other columns than the dataset's: {columns}")
        if features and schema.metadata != SCHEMA.metadata:
            raise UnreadableShard(f"{path}: its schema is not the one that this project writes")
        keys += reader.keys(files[path])
        shards.append(shard_file(replace(files[path], path=path), rows))
    return shards, keys


def shard_file(file: RemoteFile, rows: int) -> ShardFile:
    """A file on the Hub as a record names it."""
    return ShardFile(file.path.rsplit("/", 1)[-1], rows, file.size, file.sha256 or "")


def left_out(keys: Sequence[str | None], segments: Iterator[Segment]) -> list[Segment] | str:
    """The segments without a row; the first key that is no segment, or not in its place, when there is one."""
    missing: list[Segment] = []
    for key in keys:
        for segment in segments:
            if segment.key == key:
                break
            missing.append(segment)
        else:
            return str(key)
    return [*missing, *segments]


def _incomplete(missing: Sequence[Segment], source: Source) -> str | None:
    if lost := source.to_be_had(missing):
        return f"{len(lost)} segments are in the bucket and in no file, the first is {lost[0].key}"
    young = [segment for segment in missing if segment.settling]
    return f"{young[0].episode} is still uploading" if young else None
