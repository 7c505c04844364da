"""Read Parquet files on the Hub by ranges: the footer, and the audio keys without the audio.

A footer is one request of some kilobytes, the keys are one small request a row group; a file of 2 GB costs about a
megabyte. Reads are at one fixed revision, so repeating them is safe.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.commit import ask
from r2_hf_assets.hub.errors import one_line
from r2_hf_assets.settings import HubSettings

T = TypeVar("T")


class UnreadableShard(Exception):
    """The file exists and is damaged; the message says how."""


class Reader(Protocol):
    """The reads that a check of a file's rows needs; HubReader is the real one."""

    def footer(self, file: RemoteFile) -> tuple[pa.Schema, int]: ...
    def keys(self, file: RemoteFile) -> list[str | None]: ...


@dataclass(frozen=True)
class HubReader:
    """Reads files of one repo at one revision.

    Raises from every method:
        UnreadableShard: the file is damaged.
        AccessError, GaveUp: the Hub can't be read.
    """

    hub: HubSettings
    revision: str
    log: Callable[[str], None] | None = None

    def footer(self, file: RemoteFile) -> tuple[pa.Schema, int]:
        """Return the schema, with its metadata, and the number of rows."""
        return self._read(file, lambda parquet: (parquet.schema_arrow, parquet.metadata.num_rows))

    def keys(self, file: RemoteFile) -> list[str | None]:
        """Return audio.path of every row, in order."""

        def read(parquet: pq.ParquetFile) -> list[str | None]:
            groups = (parquet.read_row_group(index, ["audio.path"]) for index in range(parquet.num_row_groups))
            return [key for group in groups for part in group["audio"].chunks for key in part.field(0).to_pylist()]

        return self._read(file, read)

    @cached_property
    def _repo(self) -> HubClient:
        return HubClient(self.hub)

    def _read(self, file: RemoteFile, use: Callable[[pq.ParquetFile], T]) -> T:
        def attempt() -> T:
            with self._open(file) as parquet:
                return use(parquet)

        try:
            return ask(self._repo, f"read {file.path} of", attempt, log=self.log)
        except pa.ArrowException as error:
            raise UnreadableShard(f"{file.path} is no sound Parquet file: {one_line(str(error))}") from None

    @contextmanager
    def _open(self, file: RemoteFile) -> Iterator[pq.ParquetFile]:
        from huggingface_hub import HfFileSystem

        hub = HfFileSystem(endpoint=self.hub.endpoint, token=self.hub.token, skip_instance_cache=True)
        path = f"datasets/{self.hub.repo_id}@{self.revision}/{file.path}"
        # Without a cache exactly the ranges that Parquet asks for are fetched.
        with hub.open(path, "rb", cache_type="none") as opened, pq.ParquetFile(opened, pre_buffer=False) as parquet:
            yield parquet
