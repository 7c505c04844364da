"""Row groups -> Parquet parts, none larger than the limit, streamed into an upload while they are written.

Rotation depends only on the rows, so the same input gives byte-identical files. What the writer was given is counted
here, and kept beside the footer that it wrote, for the ledger check. Leaving by an exception finishes nothing.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

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
    """What an upload says of a finished file: `size` in bytes, `sha256` in hex."""

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


class Group(NamedTuple):
    """A row group as the writer was given it: its rows, and the offsets in the file between which it was written."""

    rows: int
    start: int
    end: int


@dataclass(frozen=True)
class Part:
    """A finished file.

    Attributes:
        size, sha256: as the upload counted and hashed them.
        footer: the bytes after the last row group.
    """

    size: int
    sha256: str
    groups: tuple[Group, ...]
    footer: bytes

    @property
    def rows(self) -> int:
        return sum(group.rows for group in self.groups)


class PartWriter:
    """Writes tables as row groups into parts. Use as a context manager, then read `parts`.

    Args:
        given: told of each table right before it is written.
    """

    def __init__(self, upload: Upload, max_bytes: int, given: Callable[[pa.Table], None]) -> None:
        self.parts: list[Part] = []
        self._upload = upload
        self._max = max_bytes
        self._given = given
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
        self._given(table)
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
        self._sink = _Sink(upload)
        self._writer = pq.ParquetWriter(pa.PythonFile(self._sink, "w"), SCHEMA, **WRITER_OPTIONS)
        self._groups: list[Group] = []

    @property
    def size(self) -> int:
        """Bytes of the file if it ended here, about."""
        return self._sink.position + self.footer

    def write(self, table: pa.Table) -> None:
        start = self._sink.position
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._groups.append(Group(table.num_rows, start, self._sink.position))

    def finish(self) -> Part:
        self._sink.tail = bytearray()
        self._writer.close()
        content = self._sink.finish()
        if content.size != self._sink.position:
            raise ShardError(f"{self._sink.position} bytes of a part were written, {content.size} arrived; run again")
        return Part(content.size, content.sha256, tuple(self._groups), bytes(self._sink.tail))

    def abandon(self) -> None:
        """Let go of a part that is not whole; nothing more is written to it."""
        self._sink.abandoned = True
        with suppress(Exception):  # it can't write its footer any more, which is the point
            self._writer.close()


class _Sink:
    """The file object that pyarrow writes to."""

    closed = False

    def __init__(self, upload: PartUpload) -> None:
        self.position = 0
        self.tail: bytearray | None = None  # when set, what is written from there on
        self.abandoned = False
        self._upload = upload
        self._small = bytearray()

    def write(self, data: bytes) -> int:
        if self.abandoned:
            raise ValueError("this part was abandoned")
        self.position += len(data)
        if self.tail is not None:
            self.tail += data
        if len(data) < _SMALL_BYTES:
            self._small += data
            if len(self._small) >= _SMALL_BYTES:
                self._hand_on()
        else:
            self._hand_on()
            self._upload.write(bytes(data))
        return len(data)

    def _hand_on(self) -> None:
        if self._small:
            self._upload.write(bytes(self._small))
            self._small.clear()

    def finish(self) -> Content:
        self._hand_on()
        return self._upload.finish()

    def flush(self) -> None:
        """Called by pyarrow."""

    def close(self) -> None:
        """Called by pyarrow."""
