"""Row groups -> Parquet parts, none larger than the limit, streamed into an upload while they are written.

Rotation depends only on the rows, so the same input gives byte-identical files. Leaving by an exception finishes
nothing.
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

# What a row group adds to a file besides its data: page headers, indexes and its part of the footer, with room to
# spare. The footer's share (about 800 bytes, and 30 a page of 1 MiB) is written when the file ends.
_OVERHEAD_BYTES = 64 * 1024
_FOOTER_BYTES = 2 * 1024
_BYTES_PER_INDEX_BYTE = 2**14
# Page headers and the small columns are handed on together.
_SMALL_BYTES = 64 * 1024


@dataclass(frozen=True)
class Content:
    """A finished file as the upload counted and hashed it: `size` in bytes, `sha256` in hex."""

    size: int
    sha256: str


class PartUpload(Protocol):
    """The content of one file, written from its beginning to its end."""

    def write(self, data: bytes) -> None: ...
    def finish(self) -> Content: ...


class Upload(Protocol):
    """The parts of one chunk, one after the other."""

    def begin(self) -> PartUpload: ...


def group_limit(rowgroup_bytes: int, max_bytes: int) -> int:
    """The size of a row group that leaves room for what the file needs besides."""
    overhead = _OVERHEAD_BYTES + max_bytes // _BYTES_PER_INDEX_BYTE
    return min(rowgroup_bytes, max(max_bytes - overhead, max_bytes // 2))


@dataclass(frozen=True)
class Part:
    """A finished file; `rows` are those that its footer names."""

    rows: int
    size: int
    sha256: str


class PartWriter:
    """Writes tables as row groups into parts. Use as a context manager, then read `parts`."""

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

    def write(self, table: pa.Table, size: int) -> None:
        """Append one row group of about `size` bytes, in a new part if it does not fit into this one."""
        index = size // _BYTES_PER_INDEX_BYTE
        if self._open is not None and self._open.size + size + index + _OVERHEAD_BYTES > self._max:
            self._finish()
        if self._open is None:
            self._open = _OpenPart(self._upload.begin())
        self._open.write(table)
        self._open.footer += _FOOTER_BYTES + index
        activity.advance()

    def _finish(self) -> None:
        if self._open is not None:
            self.parts.append(self._open.finish())
            self._open = None


class _OpenPart:
    def __init__(self, upload: PartUpload) -> None:
        self.footer = 0  # bytes that it will take, about
        self._upload = upload
        self._sink = _Sink(upload)
        self._buffer = io.BufferedWriter(self._sink, _SMALL_BYTES)
        self._file = pa.PythonFile(self._buffer, "w")
        self._footers: list[pq.FileMetaData] = []
        self._writer = pq.ParquetWriter(self._file, SCHEMA, metadata_collector=self._footers, **WRITER_OPTIONS)

    @property
    def size(self) -> int:
        """Bytes of the file if it ended here, about."""
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
        """Let go of a part that is not whole; nothing more is sent of it."""
        self._sink.upload = None
        with suppress(Exception):
            self._writer.close()


class _Sink(io.RawIOBase):
    """The file object below pyarrow's buffer. Without an upload it drops what it is given."""

    def __init__(self, upload: PartUpload) -> None:
        self.upload: PartUpload | None = upload

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.upload is not None:
            self.upload.write(bytes(data))
        return len(data)
