"""How a revision of the dataset repo differs from the shards of chunks: in a few requests, by path."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.repo import Repo
from r2_hf_assets.shards.names import part_name, path_in_repo, stem
from r2_hf_assets.shards.record import BuildRecord, ShardFile

T = TypeVar("T")

# How many parts beyond our own are looked for at a time: a chunk that shrank may have left that many behind.
_PROBE_PARTS = 32
# What one request asks for at the most, when several chunks are compared: a hundred chunks are eight requests.
_PATHS_PER_REQUEST = 500


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
    return compare_all(repo, [record], revision)[0]


def compare_all(repo: Repo, records: Sequence[BuildRecord], revision: str) -> list[Difference]:
    """The same for several chunks, in a few requests."""
    differences = []
    for record, there in zip(records, _files_of(repo, records, revision), strict=True):
        mine = {path_in_repo(record.language, file.name): file for file in record.files}
        absent = {path: file for path, file in mine.items() if not _same(there.get(path), file)}
        replaced = tuple(there[path] for path in absent if path in there)
        stale = tuple(there[path] for path in sorted(there.keys() - mine.keys()))
        differences.append(Difference(tuple(absent.values()), replaced, stale))
    return differences


def files_of_chunk(repo: Repo, record: BuildRecord, revision: str) -> dict[str, RemoteFile]:
    """Every file of the chunk that `revision` holds, ours or an earlier build's, by path."""
    return _files_of(repo, [record], revision)[0]


def _files_of(repo: Repo, records: Sequence[BuildRecord], revision: str) -> list[dict[str, RemoteFile]]:
    there: list[dict[str, RemoteFile]] = [{} for _ in records]
    part = [0] * len(records)
    waiting = list(range(len(records)))
    while waiting:
        paths_of = {}
        for index in waiting:
            record, first = records[index], part[index]
            part[index] = max(len(record.files), first) + _PROBE_PARTS
            names = [part_name(record.number, number) for number in range(first, part[index])]
            whole = [] if first else [f"{stem(record.number)}.parquet"]
            paths_of[index] = [path_in_repo(record.language, name) for name in (*whole, *names)]
        for batch in batches(paths_of.items(), lambda asked: len(asked[1]), _PATHS_PER_REQUEST):
            found = repo.files([path for _, paths in batch for path in paths], revision)
            for index, paths in batch:
                there[index] |= {path: found[path] for path in paths if path in found}
        # Where the last path that was asked for exists, there may be more.
        waiting = [index for index in waiting if paths_of[index][-1] in there[index]]
    return there


def batches(items: Iterable[T], size: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """The items in order, as many at a time as come to `most` by their sizes; one at the least."""
    batch: list[T] = []
    total = 0
    for item in items:
        if batch and total + size(item) > most:
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += size(item)
    if batch:
        yield batch


def _same(remote: RemoteFile | None, file: ShardFile) -> bool:
    return remote is not None and (remote.sha256, remote.size) == (file.sha256, file.size)
