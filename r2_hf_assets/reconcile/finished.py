"""Checks a chunk that the script finished: its files on the Hub, and how many segments the script lost.

The script dropped a whole episode for one missing MP3 and called the chunk done, wrote no Audio feature, and its
audio.path is whatever it was. So what must hold is less than for our own files: parts from 00 to the last, readable,
with the dataset's columns and types, with rows. What they lack is counted against the metadata in the bucket. When
audio.path is the object's key, the segments without a row are known by name, and only those count as lost whose audio
can be had: the others no rebuild would bring back. Otherwise the difference of the counts is the most that can be lost.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from r2_hf_assets.bucket.segments import Segment
from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.inventory import Inventory
from r2_hf_assets.hub.reading import HubReader, Reader, UnreadableShard
from r2_hf_assets.plan.chunks import Chunk, Planned
from r2_hf_assets.reconcile.prove import Source, left_out, open_source, shard_file, side_by_side
from r2_hf_assets.reconcile.report import Recovered
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.names import parts_in_order
from r2_hf_assets.shards.record import ShardFile
from r2_hf_assets.shards.schema import SCHEMA


@dataclass(frozen=True)
class Finished:
    """A chunk that the script called done.

    Attributes:
        problem: why it can't be taken over; None when it can.
        segments: entries of the bucket's metadata that should be rows.
        lost: of those, how many have no row though their audio can be had; `exact`, or else the most it can be.
    """

    chunk: Chunk
    files: tuple[ShardFile, ...] = ()
    problem: str | None = None
    segments: int = 0
    lost: int = 0
    exact: bool = True

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def incomplete(self) -> str | None:
        """What it lacks, e.g. "13 of 1,285 segments"; None when it is whole."""
        return f"{'' if self.exact else 'up to '}{self.lost:,} of {self.segments:,} segments" if self.lost else None


def check_finished(chunk: Chunk, files: Sequence[RemoteFile], reader: Reader, source: Source) -> Finished:
    """Read footers and keys of a chunk's files, and the episodes' metadata.

    Raises:
        AccessError, GaveUp: the Hub or the bucket can't be asked.
    """
    by_path = {file.path: file for file in files}
    paths = parts_in_order(chunk.language, chunk.number, by_path)
    if not paths:
        there = f"its parts are not 00 to the last: {', '.join(sorted(by_path)[:5])}" if files else "no file on the Hub"
        return Finished(chunk, problem=there)
    shards: list[ShardFile] = []
    keys: list[str | None] = []
    try:
        for path in paths:
            schema, rows = reader.footer(by_path[path])
            if not schema.equals(SCHEMA):  # metadata apart
                return Finished(chunk, problem=f"{path}: other columns than the dataset's: {_columns(schema)}")
            keys += reader.keys(by_path[path])
            shards.append(shard_file(by_path[path], rows))
    except UnreadableShard as damage:
        return Finished(chunk, problem=str(damage))
    if not keys:
        return Finished(chunk, tuple(shards), problem="no row in it")
    count = _Counted(source.segments(chunk))
    missing = left_out(keys, count.segments())
    if isinstance(missing, str):
        return Finished(chunk, tuple(shards), None, count.seen, max(0, count.seen - len(keys)), exact=False)
    return Finished(chunk, tuple(shards), None, count.seen, len(source.to_be_had(missing)))


def recoverable(found: Finished) -> Recovered:
    """What its record needs."""
    chunk = found.chunk
    planned = Planned(chunk.language, chunk.number, chunk.digest, len(chunk.episodes))
    how = f"footers and keys of the script's files; {found.incomplete or 'no segment'} missing"
    return Recovered(planned, found.files, how)


def check_all(
    settings: Settings, chunks: Sequence[Chunk], hub: Inventory, log: Callable[[str], None]
) -> Iterator[Finished]:
    """Check every chunk at the inventory's revision, in their order."""
    assert settings.hub is not None
    if hub.revision is None:
        yield from (Finished(chunk, problem="no such repo on the Hub") for chunk in chunks)
        return
    there = hub.by_chunk()
    source, reader = open_source(settings), HubReader(settings.hub, hub.revision, log=log)

    def look(chunk: Chunk) -> Finished:
        return check_finished(chunk, there[chunk.language, chunk.number], reader, source)

    for done, found in enumerate(side_by_side(look, chunks), 1):
        log(f"checked {done} of {len(chunks)} finished chunks on the Hub")
        yield found


@dataclass
class _Counted:
    """Segments passed on and counted."""

    source: Iterator[Segment]
    seen: int = field(default=0)

    def segments(self) -> Iterator[Segment]:
        for segment in self.source:
            self.seen += 1
            yield segment


def _columns(schema: object) -> str:
    return ", ".join(str(schema).splitlines())[:200]
