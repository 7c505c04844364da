"""Verifies that files on the Hub are a chunk, whole, where no record of their build is left to compare with.

Of the files only footers and audio keys are read, by ranges; episode metadata is read from the bucket again. Every row
must be of an episode of the chunk, none may be double, in any order: the script wrote episodes as they were completed.
Audio of a segment without a row must be missing or unusable in the bucket now: without the ledger, nothing else tells a
rejected segment from a lost one.

The audio's bytes are not compared: what is verified is that every segment has its row.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

from r2_hf_assets.bucket.segments import Segment, audio_fault
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.reads import HubReader, Inventory, UnreadableShard
from r2_hf_assets.plan.chunks import ChunkManifest, ChunkRef
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.reconcile.report import Due, Recovered
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


@dataclass(frozen=True)
class Content:
    """What a chunk's files on the Hub hold.

    Attributes:
        files: as a record names them; empty when one is damaged or has a row that is not of the chunk.
        problem: why they can't be recorded as this chunk; None when they can.
        foreign: the problem is a row of an episode that is not of this chunk.
        lost: keys of those of its `segments` that have no row although their audio exists.
    """

    files: tuple[ShardFile, ...] = ()
    problem: str | None = None
    foreign: bool = False
    segments: int = 0
    lost: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        if self.problem:
            return self.problem
        if self.lost:
            return f"lacks {len(self.lost):,} of {self.segments:,} segments, the first is {self.lost[0]}"
        return f"{sum(file.rows for file in self.files):,} rows"


def open_source(settings: Settings) -> Source:
    """The bucket that the settings name."""
    return Source(Bucket(settings.r2), timedelta(minutes=settings.shards.settle_minutes), default_retry())


def segments_of(source: Source, chunk: ChunkManifest) -> Iterator[Segment]:
    """Every segment that should be a row if its audio is usable, in plan order."""
    return (item for item in source.items(chunk, _METADATA_WORKERS) if isinstance(item, Segment))


def keep_usable(source: Source, segments: Sequence[Segment]) -> list[Segment]:
    """Those whose audio could be a row, by the rule of a build."""
    with closing(source.audio(segments, _AUDIO_WORKERS)) as audio:
        return [item for item, fetched in audio if isinstance(item, Segment) and audio_fault(fetched) is None]


def verify_remote(
    settings: Settings, chunks: Sequence[ChunkRef], hub: Inventory, log: Callable[[str], None] | None = None
) -> Iterator[Recovered | Due]:
    """Read each of these chunks on the Hub, a few at a time; see verify_chunk."""
    if not chunks:
        return
    assert hub.revision is not None
    plan, source = open_plan(settings.plan, settings.r2), open_source(settings)
    reader, on_hub = HubReader(HubClient(settings.hub, log), hub.revision), hub.by_chunk()

    def verify(planned: ChunkRef) -> Recovered | Due:
        chunk = plan.read(*planned.name)
        assert chunk is not None, "nothing deletes manifests"
        found = verify_chunk(chunk, {file.path: file for file in on_hub[planned.name]}, reader, source)
        if found.problem or found.lost:
            return Due(planned.name, found.summary, found.files)
        return Recovered(planned, found.files, "its rows on the Hub, against the bucket")

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


def verify_chunk(chunk: ChunkManifest, files: Mapping[str, RemoteFile], reader: HubReader, source: Source) -> Content:
    """Read `files`, all that the Hub holds of this chunk, by their paths in the repo as this project names them."""
    if not files:
        return Content(problem="no file on the Hub")
    paths = parts_in_order(*chunk.name, files)
    try:
        shards, keys = _read_rows(paths or sorted(files), files, reader)
    except UnreadableShard as damage:
        return Content(problem=str(damage))
    rows = Counter(keys)
    prefixes = {chunk.audio_prefix(episode) for episode in chunk.episodes}
    for key in rows:
        if key is None or key[: key.rfind("_") + 1] not in prefixes:
            return Content(problem=f"its row {key} is of no episode of this chunk", foreign=True)
    content = Content(tuple(shards))
    if paths is None:
        return replace(content, problem=f"its parts are not 00 to the last: {', '.join(sorted(files)[:5])}")
    if not rows:
        return replace(content, problem="no row in it")
    if twice := next((key for key, count in rows.items() if count > 1), None):
        return replace(content, problem=f"its row {twice} is there more than once")
    segments, missing = 0, list[Segment]()
    for segment in segments_of(source, chunk):
        segments += 1
        if segment.key not in rows:
            missing.append(segment)
    lost = tuple(segment.key for segment in keep_usable(source, missing))
    settling = next((segment.episode for segment in missing if segment.settling), None)
    problem = f"{settling} is still uploading" if settling and not lost else None
    return replace(content, problem=problem, segments=segments, lost=lost)


def _read_rows(
    paths: Iterable[str], files: Mapping[str, RemoteFile], reader: HubReader
) -> tuple[list[ShardFile], list[str | None]]:
    """The files at these paths, and the audio keys of all their rows."""
    shards: list[ShardFile] = []
    keys: list[str | None] = []
    for path in paths:
        schema, rows = reader.footer(files[path])
        if not schema.equals(SCHEMA):  # metadata apart: the script wrote no features
            columns = ", ".join(str(schema).splitlines())[:200]
            raise UnreadableShard(f"{path}: other columns than the dataset's: {columns}")
        keys += reader.keys(files[path])
        shards.append(shard_file(path, files[path], rows))
    return shards, keys


def shard_file(path: str, file: RemoteFile, rows: int) -> ShardFile:
    """A file on the Hub as a record names it, at `path` in the repo."""
    return ShardFile(path.rsplit("/", 1)[-1], rows, file.size, file.sha256 or "")
