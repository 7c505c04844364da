"""Checks a chunk that the script built: its files on the Hub, and how many segments the script lost.

The script dropped a whole episode for one missing MP3 or bad entry and called the chunk done, wrote no Audio feature,
and its rows lie by episode in order of completion. What must hold: parts from 00 to the last, readable, with the
dataset's columns and types, with rows; every row of an episode of this chunk, and none twice. Rows are compared with
the metadata in the bucket by their audio.path (the object's key, or its file name alone), whatever their order. Of the
segments without a row only those count as lost whose audio can be had: the others no rebuild would bring back.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from r2_hf_assets.bucket.segments import Segment
from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.inventory import Inventory
from r2_hf_assets.hub.reading import HubReader, Reader, UnreadableShard
from r2_hf_assets.plan.chunks import Chunk, Planned
from r2_hf_assets.reconcile.adopt import Located
from r2_hf_assets.reconcile.prove import Source, open_source, read_rows, shard_file, side_by_side
from r2_hf_assets.reconcile.report import Due, Recovered
from r2_hf_assets.reconcile.script import ScriptError
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.names import parts_in_order
from r2_hf_assets.shards.record import ShardFile


@dataclass(frozen=True)
class Finished:
    """A chunk that the script built.

    Attributes:
        there: its files on the Hub, by the paths that they have under our names. If the chunk is left due, these are
            what its next build may replace.
        shards: the same as a record names them, in the order of their rows; () when they can't be read.
        problem: why it can't be taken over; None when it can.
        stranger: audio.path of a row that is of another chunk's episode, which is a problem too.
        segments: entries of the bucket's metadata that should be rows.
        lost: of those, how many have no row though their audio can be had; they are of `lost_episodes` episodes.
        more: rows that the bucket's metadata does not name now.
    """

    chunk: Chunk
    there: tuple[RemoteFile, ...] = ()
    shards: tuple[ShardFile, ...] = ()
    problem: str | None = None
    stranger: str | None = None
    segments: int = 0
    lost: int = 0
    lost_episodes: int = 0
    more: int = 0

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.shards)

    @property
    def incomplete(self) -> str | None:
        """What it lacks, e.g. "13 of 1,285 segments (1 episodes)"; None when it is whole."""
        return f"{self.lost:,} of {self.segments:,} segments ({self.lost_episodes:,} episodes)" if self.lost else None


def check_finished(chunk: Chunk, files: Mapping[str, RemoteFile], reader: Reader, source: Source) -> Finished:
    """Read footers and keys of a chunk's files, and the episodes' metadata.

    Args:
        files: by the path that is ours for them, as in `Located`.

    Raises:
        AccessError, GaveUp: the Hub or the bucket can't be asked.
    """
    there = tuple(replace(file, path=path) for path, file in sorted(files.items()))
    found = Finished(chunk, there)
    paths = parts_in_order(chunk.language, chunk.number, files)
    if not paths:
        missing = f"its parts are not 00 to the last: {', '.join(sorted(files)[:5])}" if files else "no file on the Hub"
        return replace(found, problem=missing)
    try:
        shards, keys = read_rows(paths, files, reader, features=False)
    except UnreadableShard as damage:
        return replace(found, problem=str(damage))
    if not keys:
        return replace(found, problem="no row in it")
    return _compare(replace(found, shards=tuple(shards)), keys, source)


def _compare(found: Finished, keys: Sequence[str | None], source: Source) -> Finished:
    """The rows against the segments that should be rows, in any order."""
    chunk = found.chunk
    prefixes = {chunk.audio_prefix(episode) for episode in chunk.episodes}
    prefixes |= {prefix.rpartition("/")[2] for prefix in prefixes}
    left = Counter(keys)
    stranger = next((str(key) for key in left if key is None or key[: key.rfind("_") + 1] not in prefixes), None)
    if stranger is not None:
        return replace(found, problem=f"its row {stranger} is of no episode of this chunk", stranger=stranger)
    repeated = [key for key, count in left.items() if count > 1]
    missing: list[Segment] = []
    segments = 0
    for segment in source.segments(chunk):
        segments += 1
        for name in (segment.key, segment.key.rpartition("/")[2]):
            if left[name]:
                left[name] -= 1
                break
        else:
            missing.append(segment)
    if twice := next((key for key in repeated if left[key]), None):
        return replace(found, problem=f"its row {twice} is there more than once")
    lost = source.to_be_had(missing)
    episodes = len({segment.episode for segment in lost})
    return replace(found, segments=segments, lost=len(lost), lost_episodes=episodes, more=left.total())


def recoverable(found: Finished) -> Recovered:
    """What its record needs."""
    chunk = found.chunk
    planned = Planned(chunk.language, chunk.number, chunk.digest, len(chunk.episodes))
    how = f"footers and keys of the script's files; {found.incomplete or 'no segment'} missing"
    return Recovered(planned, found.shards, how)


def to_build_anew(found: Finished) -> Due:
    """What is recorded of a chunk that is left due: its next build may replace the script's files."""
    name = (found.chunk.language, found.chunk.number)
    why = found.problem or f"the script's files lack {found.incomplete or 'nothing'}"
    return Due(name, why, tuple(shard_file(file, 0) for file in found.there))


def check_all(
    settings: Settings, located: Sequence[Located], hub: Inventory, log: Callable[[str], None]
) -> Iterator[Finished]:
    """Check every chunk at the inventory's revision, in their order."""
    assert settings.hub is not None
    if hub.revision is None:
        yield from (Finished(chunk.taken.chunk, problem="no such repo on the Hub") for chunk in located)
        return
    source, reader = open_source(settings), HubReader(settings.hub, hub.revision, log=log)

    def look(chunk: Located) -> Finished:
        return check_finished(chunk.taken.chunk, chunk.files, reader, source)

    yield from side_by_side(look, located)


def refuse_other_slices(
    settings: Settings, located: Sequence[Located], hub: Inventory, log: Callable[[str], None]
) -> None:
    """Look whether chunks were as long when the script ran: the last one of each language that has files shows it best.

    Raises:
        ScriptError: a row is of an episode that lies in another slice of the work plan.
    """
    last = {chunk.taken.folder: chunk for chunk in located if chunk.files}
    for found in check_all(settings, list(last.values()), hub, log):
        if found.stranger is not None:
            raise ScriptError(
                f"{found.there[0].path}: {found.problem}; if EPISODES_PER_CHUNK was another when the script ran, say "
                "--episodes-per-chunk N; with --episodes-per-chunk as it is now, such chunks are built anew"
            )
