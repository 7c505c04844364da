"""Parquet files on the Hub, read by ranges: the footer, and the audio keys without the audio.

A footer is one request of some kilobytes, the keys one small request a row group; a file of 2 GB costs about a
megabyte. Reads are at one fixed revision, so repeating them is safe.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.commit import ask
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import HubSettings


class UnreadableShard(Exception):
    """The file is there and is no sound Parquet file; says what is wrong."""


class Reader(Protocol):
    """What a proof asks of a file; HubReader is the real one."""

    def footer(self, file: RemoteFile) -> tuple[pa.Schema, int]: ...
    def keys(self, file: RemoteFile) -> list[str | None]: ...


@dataclass(frozen=True)
class HubReader:
    """Reads files of one repo at one revision.

    Raises from every method:
        UnreadableShard: the file is damaged.
        AccessError, GaveUp: the Hub can't be asked.
    """

    hub: HubSettings
    revision: str
    retry: Retry | None = None
    log: Callable[[str], None] | None = None
    _repo: HubClient = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_repo", HubClient(self.hub))

    def footer(self, file: RemoteFile) -> tuple[pa.Schema, int]:
        """The schema, with its metadata, and the number of rows."""
        return self._read(file, lambda parquet: (parquet.schema_arrow, parquet.metadata.num_rows))

    def keys(self, file: RemoteFile) -> list[str | None]:
        """audio.path of every row, in order."""

        def read(parquet: pq.ParquetFile) -> list[str | None]:
            groups = (parquet.read_row_group(index, ["audio.path"]) for index in range(parquet.num_row_groups))
            return [key for group in groups for key in pa.chunked_array(_paths(group), pa.string()).to_pylist()]

        return self._read(file, read)

    def _read(self, file: RemoteFile, use: Callable[[pq.ParquetFile], Any]) -> Any:
        def once() -> Any:
            with self._opened(file) as parquet:
                return use(parquet)

        try:
            return ask(self._repo, f"read {file.path} of", once, self.retry, self.log)
        except pa.ArrowException as error:
            first_line = (str(error).splitlines() or [""])[0]
            raise UnreadableShard(f"{file.path} is no sound Parquet file: {first_line[:200]}") from None

    @contextmanager
    def _opened(self, file: RemoteFile) -> Iterator[pq.ParquetFile]:
        from huggingface_hub import HfFileSystem

        hub = HfFileSystem(endpoint=self.hub.endpoint, token=self.hub.token, skip_instance_cache=True)
        path = f"datasets/{self.hub.repo_id}@{self.revision}/{file.path}"
        # No cache: what Parquet asks for is exactly what is fetched.
        with hub.open(path, "rb", cache_type="none") as opened, pq.ParquetFile(opened, pre_buffer=False) as parquet:
            yield parquet


def _paths(group: pa.Table) -> list[pa.Array]:
    return [chunk.field(0) for chunk in group.column("audio").chunks]
