"""Writes row groups as Parquet parts within a size limit, and streams each part into an upload.

Rotation depends only on the rows, so the same input gives byte-identical files. An exception finishes no part.
"""

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, Self

import pyarrow as pa
import pyarrow.parquet as pq

from r2_hf_assets import activity
from r2_hf_assets.errors import ShardError
from r2_hf_assets.shards.schema import SCHEMA, WRITER_OPTIONS

# A generous bound of what a row group adds besides its data: page headers, indexes and its share of the footer (about
# 800 bytes, and 30 a page of 1 MiB).
_OVERHEAD_BYTES = 64 * 1024
_FOOTER_BYTES = 2 * 1024
_BYTES_PER_INDEX_BYTE = 2**14
# Page headers and small columns are buffered into larger writes.
_BUFFER_BYTES = 64 * 1024


@dataclass(frozen=True)
class Content:
    """A finished file as received by the upload: `size` in bytes, `sha256` in hex."""

    size: int
    sha256: str


class PartUpload(Protocol):
    """A file that is written sequentially."""

    def write(self, data: bytes) -> None: ...
    def finish(self) -> Content: ...


class Upload(Protocol):
    """The parts of one chunk, one at a time."""

    def begin(self) -> PartUpload: ...


def group_limit(rowgroup_bytes: int, max_bytes: int) -> int:
    """Return the row group size that leaves room for the file's overhead."""
    overhead = _OVERHEAD_BYTES + max_bytes // _BYTES_PER_INDEX_BYTE
    return min(rowgroup_bytes, max(max_bytes - overhead, max_bytes // 2))


@dataclass(frozen=True)
class Part:
    """A finished file; `rows` is from its footer."""

    rows: int
    size: int
    sha256: str


class PartWriter:
    """A context manager that writes row groups; `parts` is complete at its end."""

    def __init__(self, upload: Upload, max_bytes: int) -> None:
        self.parts: list[Part] = []
        self._upload = upload
        self._max = max_bytes
        self._open: _OpenPart | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            if self._open is not None:
                self._open.abandon()

    def write(self, table: pa.Table, size: int) -> tuple[int, int]:
        """Append a row group of about `size` bytes, in a new part if the current one has no room.

        Return its place: the number of its part, and its number in that part.
        """
        index = size // _BYTES_PER_INDEX_BYTE
        if self._open is not None and self._open.size + size + index + _OVERHEAD_BYTES > self._max:
            self._finish()
        if self._open is None:
            self._open = _OpenPart(self._upload.begin())
        self._open.write(table)
        self._open.footer += _FOOTER_BYTES + index
        self._open.groups += 1
        activity.advance()
        return len(self.parts), self._open.groups - 1

    def _finish(self) -> None:
        if self._open is not None:
            self.parts.append(self._open.finish())
            self._open = None


class _OpenPart:
    def __init__(self, upload: PartUpload) -> None:
        self.footer = 0  # estimated bytes
        self.groups = 0
        self._upload = upload
        self._sink = _Sink(upload)
        self._buffer = io.BufferedWriter(self._sink, _BUFFER_BYTES)
        self._file = pa.PythonFile(self._buffer, "w")
        self._footers: list[pq.FileMetaData] = []
        self._writer = pq.ParquetWriter(self._file, SCHEMA, metadata_collector=self._footers, **WRITER_OPTIONS)

    @property
    def size(self) -> int:
        """Estimated bytes of the file if it ended here."""
        written: int = self._file.tell()
        return written + self.footer

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))

    def finish(self) -> Part:
        self._writer.close()
        self._buffer.flush()
        written, content = self._file.tell(), self._upload.finish()
        if content.size != written:
            raise ShardError(f"{written} bytes of a part were written, {content.size} arrived; run again")
        return Part(self._footers[0].num_rows, content.size, content.sha256)

    def abandon(self) -> None:
        """Close an incomplete part without sending more of it."""
        self._sink.upload = None
        with suppress(Exception):
            self._writer.close()


class _Sink(io.RawIOBase):
    """A raw file over an upload; without one it discards the data."""

    def __init__(self, upload: PartUpload) -> None:
        self.upload: PartUpload | None = upload

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.upload is not None:
            self.upload.write(bytes(data))
        return len(data)
