"""Read the dataset repo at one fixed revision: list and compare its files, and read Parquet files by ranges.

The listing is recursive, a thousand files a request: 25,000 shards take 25 requests instead of one a chunk. A Parquet
footer takes one request of some kilobytes, the audio keys one small request a row group: about a megabyte for a file of
2 GB. The revision is fixed, so a repeated read has the same result.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from r2_hf_assets.hub.client import LFS_ATTRIBUTES, HubClient, RemoteFile
from r2_hf_assets.hub.commit import files_of_chunk, files_of_record
from r2_hf_assets.hub.errors import one_line
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.retry import T
from r2_hf_assets.shards.names import DATA, parse_path
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets.verdict import Problems, Verdict

_NOT_IN_LFS = f"not in LFS, so it can't be verified; add `{LFS_ATTRIBUTES}` to the repo's .gitattributes and run again"


@dataclass(frozen=True)
class Inventory:
    """The files under data/ by path, at the commit `revision`; None when the repo does not exist."""

    revision: str | None
    files: Mapping[str, RemoteFile] = field(default_factory=dict)

    def by_chunk(self) -> dict[Name | None, list[RemoteFile]]:
        """Return the files by language and chunk number, as read from their names; None for other names."""
        chunks: dict[Name | None, list[RemoteFile]] = defaultdict(list)
        for path, file in self.files.items():
            chunks[parse_path(path)].append(file)
        return chunks


def take_inventory(repo: HubClient) -> Inventory:
    """List data/ at the head. Raises AccessError or RetriesExhausted if the Hub can't be read."""
    revision = repo.call_with_retry("read", repo.head)
    if revision is None:
        return Inventory(None)
    return Inventory(revision, repo.call_with_retry("list", lambda: repo.list_files(DATA, revision)))


def check_on_hub(repo: HubClient, record: BuildRecord, revision: str) -> Verdict:
    """Check that the chunk's files at `revision` are exactly the record's: the SHA-256 of each, and no stale part."""
    existing = repo.call_with_retry("read", lambda: files_of_chunk(repo, record, revision))
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
    numbers = {"files": len(expected), "files_on_hub": len(existing), "bytes": record.bytes}
    numbers["bytes_on_hub"] = sum(file.size for file in existing.values())
    return problems.verdict(f"{len(expected)} files, {record.bytes} bytes: SHA-256 as built", numbers)


class UnreadableShard(Exception):
    """A file exists and is damaged."""


@dataclass(frozen=True)
class HubReader:
    """Reads Parquet files of a repo at one revision. Every method raises UnreadableShard for a damaged file."""

    repo: HubClient
    revision: str

    def footer(self, file: RemoteFile) -> tuple[pa.Schema, int]:
        """Return the schema, with its metadata, and the number of rows."""
        return self._read(file, lambda parquet: (parquet.schema_arrow, parquet.metadata.num_rows))

    def keys(self, file: RemoteFile) -> list[str | None]:
        """Return audio.path of every row, in order."""

        def read(parquet: pq.ParquetFile) -> list[str | None]:
            groups = (parquet.read_row_group(index, ["audio.path"]) for index in range(parquet.num_row_groups))
            return [key for group in groups for part in group["audio"].chunks for key in part.field(0).to_pylist()]

        return self._read(file, read)

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
            raise UnreadableShard(f"{file.path} is not a valid Parquet file: {one_line(str(error))}") from None
