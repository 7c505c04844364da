"""Read the dataset repo at one fixed revision: list and compare its files, and read Parquet files by ranges.

The listing is recursive, a thousand files a request: 25,000 shards take 25 requests instead of one a chunk. A Parquet
footer takes one request of some kilobytes, the audio keys one small request a row group: about a megabyte for a file of
2 GB. The revision is fixed, so a repeated read has the same result.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from r2_hf_assets.background import map_in_order
from r2_hf_assets.errors import AccessError, ShardError
from r2_hf_assets.hub.client import BRANCH, LFS_ATTRIBUTES, HubClient, RemoteFile
from r2_hf_assets.hub.commit import files_of_chunk, files_of_record
from r2_hf_assets.hub.errors import one_line, revision_is_gone
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.plural import plural
from r2_hf_assets.retry import T
from r2_hf_assets.shards.index import INDEX_SCHEMA, IndexHeader, decode_header
from r2_hf_assets.shards.names import DATA, METADATA, index_path, is_index, parse_path
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets.shards.source import METADATA_MISSING
from r2_hf_assets.verdict import Problems, Verdict

_GONE = (METADATA_MISSING, "audio_missing")
_NOT_IN_LFS = f"not in LFS, so it can't be verified; add `{LFS_ATTRIBUTES}` to the repo's .gitattributes and run again"


@dataclass(frozen=True)
class Inventory:
    """The files under data/ and the indexes, by path, at the commit `revision`; None when the repo does not exist."""

    revision: str | None
    files: Mapping[str, RemoteFile] = field(default_factory=dict)

    def by_chunk(self) -> dict[Name | None, list[RemoteFile]]:
        """Return the files by language and chunk number, as read from their names; None for other names."""
        chunks: dict[Name | None, list[RemoteFile]] = defaultdict(list)
        for path, file in self.files.items():
            chunks[parse_path(path)].append(file)
        return chunks

    def indexes(self) -> dict[Name, RemoteFile]:
        """Return the index of each chunk that has one."""
        return {name: file for path, file in self.files.items() if is_index(path) and (name := parse_path(path))}


def take_inventory(repo: HubClient) -> Inventory:
    """List data/ and metadata/ at the head. Raises AccessError or RetriesExhausted if the Hub can't be read."""
    revision = repo.call_with_retry("read", repo.head)
    if revision is None:
        return Inventory(None)
    data, metadata = (
        repo.call_with_retry("list", partial(repo.list_files, folder, revision)) for folder in (DATA, METADATA)
    )
    return Inventory(revision, data | {path: file for path, file in metadata.items() if parse_path(path)})


def require_repo(repo: HubClient, head: str | None) -> str:
    """Return the head. Raises AccessError for None, since the repo does not exist then."""
    if head is None:
        raise AccessError(f"there is no {repo.repo_id} on the Hub, or HF_TOKEN has no access to it; check HF_REPO_ID")
    return head


def check_on_hub(repo: HubClient, record: BuildRecord, revision: str) -> Verdict:
    """Check that the chunk's files at `revision` are exactly the record's: the SHA-256 of each, and no stale part."""

    def read() -> dict[str, RemoteFile]:
        try:
            return files_of_chunk(repo, record, revision)
        except Exception as error:
            if revision_is_gone(error):  # a squash since the commit
                return files_of_chunk(repo, record, BRANCH)
            raise

    existing = repo.call_with_retry("read", read)
    expected = files_of_record(record)
    problems = Problems()
    for path, file in expected.items():
        remote = existing.get(path)
        if remote is None:
            problems.add("absent", path)
        elif remote.sha256 is None:
            problems.add("not_in_lfs", f"{path}: {_NOT_IN_LFS}")
        elif remote.sha256 != file.sha256:
            problems.add("other_sha256", f"{path}: {file.sha256} was built, the Hub has {remote.sha256}")
    for path in sorted(existing.keys() - expected.keys()):
        problems.add("stale", path)
    size, on_hub = (sum(file.size for file in files.values()) for files in (expected, existing))
    numbers = {"files": len(expected), "files_on_hub": len(existing), "bytes": size, "bytes_on_hub": on_hub}
    return problems.verdict(f"{plural(len(expected), 'file')}, {size:,} bytes: SHA-256 as built", numbers)


def refuse_lost_sources(repo: HubClient, record: BuildRecord) -> None:
    """Raise ShardError if the build has fewer rows than the chunk at the head because objects are gone from the bucket.

    Its commit would take other rows out of the dataset than `r2-hf remove` names.
    """
    path = index_path(*record.name)

    def read() -> IndexHeader | None:
        head = repo.head()
        index = repo.files([path], head).get(path) if head else None
        return HubReader(repo, head).header(index) if head and index else None

    try:
        header = repo.call_on_head("read", read)
    except ShardError:  # a damaged index, which this build replaces
        return
    if header is None or record.tally.rows >= sum(file.rows for file in header.files):
        return
    if header.tally:
        before = {reason: header.tally.rejects.get(reason, 0) for reason in _GONE}
    else:  # made from the files: the reasons of segments without a row are not known
        before = {METADATA_MISSING: len(header.episodes) - (header.stats.episodes if header.stats else 0)}
    lost = [(record.tally.rejects.get(reason, 0) - count, reason) for reason, count in before.items()]
    if counts := ", ".join(f"{count} x {reason}" for count, reason in lost if count > 0):
        raise ShardError(
            f"{record.language} chunk {record.number} would lose rows: {counts} more than in its build on the Hub. "
            "Restore the objects in the bucket, or name them in r2-hf remove; the build is not recorded"
        )


# Indexes that are read at a time.
READERS = 8
# The footer of an index of 1,000 episodes has 70 kB.
_FOOTER_BYTES = 2**17


@dataclass(frozen=True)
class HubReader:
    """Reads Parquet files of a repo at one revision. Every method raises ShardError for a damaged file."""

    repo: HubClient
    revision: str

    def footer(self, file: RemoteFile) -> tuple[pa.Schema, int]:
        """Return the schema, with its metadata, and the number of rows."""
        return self._read(file, lambda parquet: (parquet.schema_arrow, parquet.metadata.num_rows))

    def row_groups(self, file: RemoteFile, names: Sequence[str]) -> list[list[list[Any]]]:
        """Return the values of columns, in the order of `names`, for each row group. A struct's field is a.b."""

        def read(parquet: pq.ParquetFile, index: int) -> list[list[Any]]:
            table = parquet.read_row_group(index, list(names), use_threads=False).flatten()
            return [table[name].to_pylist() for name in names]

        return self._read(file, lambda parquet: [read(parquet, index) for index in range(parquet.num_row_groups)])

    def header(self, file: RemoteFile) -> IndexHeader:
        """Return the header of an index, by one request. Raises ShardError if it is damaged, or of another release."""
        try:
            footer = self._tail(file, _FOOTER_BYTES)
            size = int.from_bytes(footer[-8:-4], "little") + 8
            if len(footer) < size <= file.size:
                footer = self._tail(file, size)
            # A footer is read without the rows before it.
            return decode_header(pq.read_metadata(pa.BufferReader(b"PAR1" + footer[-size:])).metadata)
        except (pa.ArrowException, OSError, ShardError) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise ShardError(f"{file.path}: {one_line(str(error))}") from None

    def headers(self, indexes: Mapping[Name, RemoteFile]) -> Iterator[tuple[Name, IndexHeader]]:
        """Yield the header of each index, in the order of the names, read a few ahead."""
        names = sorted(indexes)
        return zip(names, map_in_order(lambda name: self.header(indexes[name]), names, READERS, "indexes"), strict=True)

    def _tail(self, file: RemoteFile, size: int) -> bytes:
        first = max(0, file.size - size)
        read = partial(self.repo.read, file.path, self.revision, first)
        return self.repo.call_with_retry(f"read {file.path} of", read) or b""

    def columns(self, file: RemoteFile, names: Sequence[str]) -> pa.Table:
        """Return columns of an index, which has a header of this release and its schema."""

        def read(parquet: pq.ParquetFile) -> tuple[Any, pa.Table]:
            return parquet.metadata.metadata, parquet.read(columns=list(names), use_threads=False)

        metadata, table = self._read(file, read)
        try:
            decode_header(metadata)
            if not table.schema.equals(pa.schema([INDEX_SCHEMA.field(name) for name in names])):
                raise ShardError("other columns than an index has")
        except ShardError as error:
            raise ShardError(f"{file.path}: {error}") from None
        return table

    def _read(self, file: RemoteFile, use: Callable[[pq.ParquetFile], T]) -> T:
        def attempt() -> T:
            # pre_buffer would also fetch ranges between those that are needed.
            with (
                self.repo.open_file(file.path, self.revision) as opened,
                pq.ParquetFile(opened, pre_buffer=False) as parquet,
            ):
                return use(parquet)

        try:
            return self.repo.call_with_retry(f"read {file.path} of", attempt)
        except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise  # this machine's; pyarrow's for a footer that can't be decoded has no number
            raise ShardError(f"{file.path} is not a valid Parquet file: {one_line(str(error))}") from None
