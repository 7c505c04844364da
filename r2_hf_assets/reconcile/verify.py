"""Verifies that files on the Hub are a chunk, whole, where no record of their build is left to compare with.

Of the files only footer and audio keys are read, by ranges; the metadata of the episodes is read from the bucket again.
Both are walked together: every row must be the next segment that the metadata names, or follow after segments without a
row. So each row is of this chunk, in plan order, and none is double. Audio of a segment without a row must be missing
or unusable in the bucket now: without the ledger, nothing else tells a rejected segment from a lost one.

The audio's bytes are not compared: what is verified is that every segment has its row.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from r2_hf_assets.bucket.client import Store, object_store
from r2_hf_assets.bucket.fetch import fetch_in_order
from r2_hf_assets.bucket.response import Fetched, Found
from r2_hf_assets.bucket.segments import (
    METADATA_MAX_BYTES,
    Segment,
    UnusableMetadata,
    audio_fault,
    read_metadata,
    to_segment,
)
from r2_hf_assets.errors import GaveUp
from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.reads import HubReader, Inventory, UnreadableShard
from r2_hf_assets.plan.chunks import Chunk, Planned
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.reconcile.report import Due, Recovered
from r2_hf_assets.reconcile.state import Log
from r2_hf_assets.retry import Retry, default_retry
from r2_hf_assets.settings import MAX_ROWGROUP_BYTES, Settings
from r2_hf_assets.shards.names import parts_in_order
from r2_hf_assets.shards.record import ShardFile
from r2_hf_assets.shards.schema import SCHEMA

_METADATA_WORKERS = 64
_AUDIO_WORKERS = 32
_LOOKAHEAD_BYTES = 64 * 2**20
# A chunk's row groups are requested one after the other; a few chunks at once hide the latency.
_CHUNKS_AT_ONCE = 4

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Source:
    """The bucket as it is now. Metadata younger than `settle` may still be followed by audio."""

    store: Store
    settle: timedelta
    retry: Retry

    def segments(self, chunk: Chunk) -> Iterator[Segment]:
        """Every segment that should be a row if its audio can be had, in plan order."""
        metadata = self._fetch(chunk.episodes, chunk.metadata_key, _METADATA_WORKERS, METADATA_MAX_BYTES)
        with closing(metadata):
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
        audio = self._fetch(segments, lambda segment: segment.key, _AUDIO_WORKERS, MAX_ROWGROUP_BYTES)
        with closing(audio):
            return [segment for segment, fetched in audio if audio_fault(fetched) is None]

    def _fetch(
        self, items: Iterable[T], key: Callable[[T], str], workers: int, limit: int
    ) -> Generator[tuple[T, Found], None, None]:
        most = _LOOKAHEAD_BYTES
        return fetch_in_order(items, key, self.store, workers=workers, max_bytes=most, limit=limit, retry=self.retry)


def open_source(settings: Settings) -> Source:
    """The bucket that the settings name."""
    return Source(object_store(settings.r2), timedelta(minutes=settings.shards.settle_minutes), default_retry())


def verify_remote(
    settings: Settings, chunks: Sequence[Planned], hub: Inventory, log: Log | None = None
) -> Iterator[Recovered | Due]:
    """Read each of these chunks on the Hub, a few at a time; see verify_chunk.

    Raises:
        PlanError, AccessError: something can't be read.
    """
    if not chunks:
        return
    assert hub.revision is not None
    plan, source = open_plan(settings.plan, settings.r2), open_source(settings)
    reader, on_hub = HubReader(HubClient(settings.hub, log), hub.revision), hub.by_chunk()

    def verify(planned: Planned) -> Recovered | Due:
        name = (planned.language, planned.number)
        chunk = plan.read(*name)
        assert chunk is not None, "nothing deletes manifests"
        try:
            return verify_chunk(chunk, on_hub[name], reader, source)
        except GaveUp as error:
            return Due(name, f"it could not be read this time: {error}")

    for done, result in enumerate(map_concurrently(verify, chunks), 1):
        if log:
            log(f"read {done} of {len(chunks)} chunks on the Hub")
        yield result


def map_concurrently(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Results in the items' order, a few at a time. A caller that stops early waits only for those in flight."""
    pool = ThreadPoolExecutor(_CHUNKS_AT_ONCE)
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)


def verify_chunk(chunk: Chunk, files: Sequence[RemoteFile], reader: HubReader, source: Source) -> Recovered | Due:
    """Whether `files`, all that the Hub holds of this chunk, are the chunk, whole. If not, the chunk is Due, with those
    of the files whose rows are all of the chunk.

    Raises:
        AccessError, GaveUp: the Hub or the bucket can't be read.
    """
    name, by_path = (chunk.language, chunk.number), {file.path: file for file in files}
    paths = parts_in_order(*name, by_path)
    try:
        shards, keys = read_rows(paths or sorted(by_path), by_path, reader, features=True)
    except UnreadableShard as damage:
        return Due(name, str(damage))
    missing = _without_row(source.segments(chunk), keys)
    if isinstance(missing, str):
        return Due(name, f"row {missing} is no segment of this chunk as the bucket has it now, or not in its place")
    if paths is None:
        why = f"its parts are not 00 to the last: {', '.join(sorted(by_path)[:5])}"
    elif lost := source.to_be_had(missing):
        why = f"{len(lost)} segments are in the bucket and in no file, the first is {lost[0].key}"
    elif settling := [segment for segment in missing if segment.settling]:
        why = f"{settling[0].episode} is still uploading"
    else:
        planned = Planned(*name, chunk.digest, len(chunk.episodes))
        return Recovered(planned, tuple(shards), "its rows on the Hub, against the bucket")
    return Due(name, why, tuple(shards))


def read_rows(
    paths: Iterable[str], files: Mapping[str, RemoteFile], reader: HubReader, *, features: bool
) -> tuple[list[ShardFile], list[str | None]]:
    """The files at these paths, and the audio keys of all their rows in order.

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
        shards.append(shard_file(path, files[path], rows))
    return shards, keys


def shard_file(path: str, file: RemoteFile, rows: int) -> ShardFile:
    """A file on the Hub as a record names it, at `path` in the repo."""
    return ShardFile(path.rsplit("/", 1)[-1], rows, file.size, file.sha256 or "")


def _without_row(segments: Iterator[Segment], keys: Sequence[str | None]) -> list[Segment] | str:
    """The segments that are not among the rows; or the first row's key that is no segment, or not in its place."""
    missing: list[Segment] = []
    for key in keys:
        for segment in segments:
            if segment.key == key:
                break
            missing.append(segment)
        else:
            return str(key)
    return [*missing, *segments]
