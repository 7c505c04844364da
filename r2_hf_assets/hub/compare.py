"""How a revision of the dataset repo differs from a chunk's shards: in a request or two, by path."""

from dataclasses import dataclass

from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.repo import Repo
from r2_hf_assets.shards.names import part_name, path_in_repo, stem
from r2_hf_assets.shards.record import BuildRecord, ShardFile

# How many parts beyond our own are looked for at a time: a chunk that shrank may have left that many behind.
_PROBE_PARTS = 32


@dataclass(frozen=True)
class Difference:
    """How a revision differs from a chunk's shards.

    Attributes:
        absent: shards that are not there, or not with this content.
        replaced: the chunk's files there that a shard of the same name takes the place of.
        stale: the chunk's files there that are its shards no more.
    """

    absent: tuple[ShardFile, ...]
    replaced: tuple[RemoteFile, ...]
    stale: tuple[RemoteFile, ...]

    def __bool__(self) -> bool:
        return bool(self.absent or self.stale)


def compare(repo: Repo, record: BuildRecord, revision: str) -> Difference:
    """How `revision` differs from the chunk's shards."""
    there = files_of_chunk(repo, record, revision)
    mine = {path_in_repo(record.language, file.name): file for file in record.files}
    absent = {path: file for path, file in mine.items() if not _same(there.get(path), file)}
    replaced = tuple(there[path] for path in absent if path in there)
    stale = tuple(there[path] for path in sorted(there.keys() - mine.keys()))
    return Difference(tuple(absent.values()), replaced, stale)


def files_of_chunk(repo: Repo, record: BuildRecord, revision: str) -> dict[str, RemoteFile]:
    """Every file of the chunk that `revision` holds, ours or an earlier build's, by path."""
    there: dict[str, RemoteFile] = {}
    first, last = 0, len(record.files) + _PROBE_PARTS
    names = [f"{stem(record.number)}.parquet"]
    while True:
        names += [part_name(record.number, number) for number in range(first, last)]
        paths = [path_in_repo(record.language, name) for name in names]
        there |= repo.files(paths, revision)
        # Where the last path that was asked for exists, there may be more.
        if paths[-1] not in there:
            return there
        first, last, names = last, last + _PROBE_PARTS, []


def _same(remote: RemoteFile | None, file: ShardFile) -> bool:
    return remote is not None and (remote.sha256, remote.size) == (file.sha256, file.size)
