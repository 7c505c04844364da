"""Verify that files on the Hub are a complete chunk when no record of their build exists.

A chunk with an index is compared with that alone. Of others, footers and audio keys of the files are read, by ranges,
and the episodes' metadata from the bucket again. Every row must belong to an episode of the chunk, without duplicates,
in any order: the script wrote episodes as they completed. A segment without a row must have missing or unusable audio
in the bucket: without an index, only that distinguishes a rejected segment from a lost one. The audio's bytes are not
compared.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta

from r2_hf_assets.background import map_in_order
from r2_hf_assets.bucket.segments import Reject, Segment, audio_fault
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import ShardError
from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.reads import HubReader, Inventory
from r2_hf_assets.plan.chunks import ChunkManifest, ChunkRef
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.plural import plural
from r2_hf_assets.reconcile.report import Due, Recovered
from r2_hf_assets.retry import default_retry
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.index import IndexHeader
from r2_hf_assets.shards.names import is_index, parts_in_order
from r2_hf_assets.shards.record import ShardFile
from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_assets.shards.source import REMOVED, Source

_METADATA_WORKERS = 64
_AUDIO_WORKERS = 32
# A chunk's row groups are read one after the other; a few chunks in parallel hide the latency.
PARALLEL_CHUNKS = 4


@dataclass(frozen=True)
class Content:
    """The content of a chunk's files on the Hub.

    Attributes:
        files: empty when one is damaged or has a row of another chunk.
        problem: why they can't be recorded as this chunk; None when they can.
        foreign: the problem is a row of another chunk's episode.
        lost: keys of those of its `segments` that have usable audio and no row.
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
            return f"lacks {len(self.lost):,} of {plural(self.segments, 'segment')}, the first is {self.lost[0]}"
        return plural(sum(file.rows for file in self.files), "row")


def open_source(settings: Settings) -> Source:
    return Source(Bucket(settings.r2), timedelta(minutes=settings.shards.settle_minutes), default_retry())


def filter_usable(source: Source, segments: Sequence[Segment]) -> list[Segment]:
    """Return the segments whose audio a build would accept."""
    with closing(source.audio(segments, _AUDIO_WORKERS)) as audio:
        return [item for item, fetched in audio if isinstance(item, Segment) and audio_fault(fetched) is None]


def verify_remote(
    settings: Settings, chunks: Sequence[ChunkRef], hub: Inventory, log: Callable[[str], None] | None = None
) -> Iterator[Recovered | Due]:
    """Verify these chunks on the Hub, a few at a time: by their index, or without one by verify_chunk."""
    if not chunks:
        return
    assert hub.revision is not None
    plan, source = open_plan(settings.plan, settings.r2), open_source(settings)
    reader, on_hub = HubReader(HubClient(settings.hub, log), hub.revision), hub.by_chunk()
    indexes = hub.indexes()

    def verify(ref: ChunkRef) -> Recovered | Due:
        if ref.name in indexes:
            try:
                found = recover(ref, reader.header(indexes[ref.name]), on_hub[ref.name])
            except ShardError as error:
                found = str(error)
            if isinstance(found, Recovered):
                return found
            return Due(ref.name, found, tuple(shard_file(file.path, file, 0) for file in on_hub[ref.name]))
        chunk = plan.find(*ref.name)
        assert chunk is not None, "manifests are never deleted"
        content = verify_chunk(chunk, {file.path: file for file in on_hub[ref.name]}, reader, source)
        if content.problem or content.lost:
            return Due(ref.name, content.summary, content.files)
        return Recovered(ref, content.files, "its rows on the Hub, against the bucket")

    for done, result in enumerate(map_in_order(verify, chunks, PARALLEL_CHUNKS, "verify"), 1):
        if log:
            log(f"read {done} of {len(chunks)} chunks on the Hub")
        yield result


def recover(ref: ChunkRef, header: IndexHeader, on_hub: list[RemoteFile]) -> Recovered | str:
    """Return the chunk as found on the Hub by its index, or why it is not the planned one."""
    if header.digest != ref.digest:
        return "its index is of other members or amendments than the plan's"
    existing = {file.path: file for file in on_hub}
    parts = {path: file.sha256 for path, file in existing.items() if not is_index(path)}
    if parts != {file.path: file.sha256 for file in header.files}:
        return "its files are not those that its index names"
    (index,) = (file for path, file in existing.items() if is_index(path))
    rows = header.tally.index_rows if header.tally else 0
    files = (*header.files, ShardFile(index.path, rows, index.size, index.sha256 or ""))
    return Recovered(ref, files, "its index", header.stats)


def verify_chunk(chunk: ChunkManifest, files: Mapping[str, RemoteFile], reader: HubReader, source: Source) -> Content:
    """Verify all files of this chunk on the Hub, given by their paths in this project's naming."""
    if not files:
        return Content(problem="no file on the Hub")
    paths = parts_in_order(*chunk.name, files)
    try:
        shards, keys = _read_rows(paths or sorted(files), files, reader)
    except ShardError as damage:
        return Content(problem=str(damage))
    rows = Counter(keys)
    prefixes = {chunk.audio_prefix(episode): episode for episode in chunk.episodes}
    for key in rows:
        if key is None or key[: key.rfind("_") + 1] not in prefixes:
            return Content(problem=f"its row {key} is of no episode of this chunk", foreign=True)
    content = Content(tuple(shards))
    removed = chunk.removals.episodes
    if key := next((key for key in rows if key and prefixes[key[: key.rfind("_") + 1]] in removed), None):
        return replace(content, problem=f"its row {key} is removed from the dataset")
    if paths is None:
        return replace(content, problem=f"its parts are not 00 to the last: {', '.join(sorted(files)[:5])}")
    if not rows:
        return replace(content, problem="no row in it")
    if duplicate := next((key for key, count in rows.items() if count > 1), None):
        return replace(content, problem=f"its row {duplicate} occurs more than once")
    segments, missing = 0, list[Segment]()
    for segment in source.items(chunk, _METADATA_WORKERS):
        if isinstance(segment, Reject):
            if segment.reason == REMOVED and segment.key in rows:
                return replace(content, problem=f"its row {segment.key} is removed from the dataset")
            continue
        segments += 1
        if segment.key not in rows:
            missing.append(segment)
    lost = tuple(segment.key for segment in filter_usable(source, missing))
    settling = next((segment.episode for segment in missing if segment.settling), None)
    problem = f"{settling} is still uploading" if settling and not lost else None
    return replace(content, problem=problem, segments=segments, lost=lost)


def _read_rows(
    paths: Iterable[str], files: Mapping[str, RemoteFile], reader: HubReader
) -> tuple[list[ShardFile], list[str | None]]:
    """Return the files at these paths and the audio keys of all their rows."""
    shards: list[ShardFile] = []
    keys: list[str | None] = []
    for path in paths:
        schema, rows = reader.footer(files[path])
        if not schema.equals(SCHEMA):  # metadata apart: the script wrote no features
            columns = ", ".join(str(schema).splitlines())[:200]
            raise ShardError(f"{path}: other columns than the dataset's: {columns}")
        keys += [key for (group,) in reader.row_groups(files[path], ["audio.path"]) for key in group]
        shards.append(shard_file(path, files[path], rows))
    return shards, keys


def shard_file(path: str, file: RemoteFile, rows: int) -> ShardFile:
    """Return a file on the Hub as an entry of a build record, with this `path`."""
    return ShardFile(path, rows, file.size, file.sha256 or "")
