"""Verifies that files on the Hub are a chunk, whole, where no record of their build is left to compare with.

Of the files only footer and audio keys are read, by ranges; the metadata of the episodes is read from the bucket again.
Both are walked together: every row must be the next segment that the metadata names, or follow after segments without a
row. So each row is of this chunk, in plan order, and none is double. Audio of a segment without a row must be missing
or unusable in the bucket now: without the ledger, nothing else tells a rejected segment from a lost one.

The audio's bytes are not compared: what is verified is that every segment has its row.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import TypeVar

from r2_hf_assets.bucket.client import object_store
from r2_hf_assets.bucket.segments import Segment, audio_fault
from r2_hf_assets.errors import GaveUp
from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.inventory import Inventory
from r2_hf_assets.hub.reading import HubReader, Reader, UnreadableShard
from r2_hf_assets.plan.chunks import Chunk, Planned
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.reconcile.report import Due, Recovered
from r2_hf_assets.reconcile.state import Log
from r2_hf_assets.retry import default_retry
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.names import parts_in_order
from r2_hf_assets.shards.record import ShardFile
from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_assets.shards.source import Source

_METADATA_WORKERS = 64
_AUDIO_WORKERS = 32
# A chunk's row groups are requested one after the other; a few chunks at once hide the latency.
_CHUNKS_AT_ONCE = 4

T = TypeVar("T")
R = TypeVar("R")


def open_source(settings: Settings) -> Source:
    """The bucket that the settings name."""
    return Source(object_store(settings.r2), timedelta(minutes=settings.shards.settle_minutes), default_retry())


def segments_of(source: Source, chunk: Chunk) -> Iterator[Segment]:
    """Every segment that should be a row if its audio can be had, in plan order."""
    return (item for item in source.items(chunk, _METADATA_WORKERS) if isinstance(item, Segment))


def to_be_had(source: Source, segments: Sequence[Segment]) -> list[Segment]:
    """Those whose audio could be a row, by the rule of a build."""
    with closing(source.audio(segments, _AUDIO_WORKERS)) as audio:
        return [item for item, fetched in audio if isinstance(item, Segment) and audio_fault(fetched) is None]


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
    reader, on_hub = HubReader(settings.hub, hub.revision, log=log), hub.by_chunk()

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


def verify_chunk(chunk: Chunk, files: Sequence[RemoteFile], reader: Reader, source: Source) -> Recovered | Due:
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
    missing = _without_row(segments_of(source, chunk), keys)
    if isinstance(missing, str):
        return Due(name, f"row {missing} is no segment of this chunk as the bucket has it now, or not in its place")
    if paths is None:
        why = f"its parts are not 00 to the last: {', '.join(sorted(by_path)[:5])}"
    elif lost := to_be_had(source, missing):
        why = f"{len(lost)} segments are in the bucket and in no file, the first is {lost[0].key}"
    elif settling := [segment for segment in missing if segment.settling]:
        why = f"{settling[0].episode} is still uploading"
    else:
        planned = Planned(*name, chunk.digest, len(chunk.episodes))
        return Recovered(planned, tuple(shards), "its rows on the Hub, against the bucket")
    return Due(name, why, tuple(shards))


def read_rows(
    paths: Iterable[str], files: Mapping[str, RemoteFile], reader: Reader, *, features: bool
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
