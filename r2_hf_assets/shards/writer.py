"""Row groups -> Parquet parts, none larger than the limit, hashed while they are written.

Rotation depends only on the rows, so the same input gives byte-identical files. A part gets its name when it is
whole: it is written as part-NN into a folder nobody reads, its footer is read back, and the caller publishes it.
Leaving by an exception publishes nothing.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from r2_hf_assets.errors import ShardError
from r2_hf_assets.shards.schema import SCHEMA, WRITER_OPTIONS

# What a row group adds to a file besides its data: page headers, indexes and its part of the footer, with room to
# spare. The footer's share (about 800 bytes, and 30 a page of 1 MiB) is written when the file ends.
_OVERHEAD_BYTES = 64 * 1024
_FOOTER_BYTES = 2 * 1024
_BYTES_PER_INDEX_BYTE = 2**14


def group_limit(rowgroup_bytes: int, max_bytes: int) -> int:
    """The size of a row group that leaves room for what the file needs besides."""
    overhead = _OVERHEAD_BYTES + max_bytes // _BYTES_PER_INDEX_BYTE
    return min(rowgroup_bytes, max(max_bytes - overhead, max_bytes // 2))


@dataclass(frozen=True)
class Part:
    """A finished file. `size` in bytes; `sha256` in hex, of the bytes as they were written."""

    path: Path
    rows: int
    size: int
    sha256: str


class _HashingFile:
    """A file that hashes what is written to it, so that no second read is needed. Only what pyarrow calls."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)
        self._hash = hashlib.sha256()
        self._abandoned = False
        self.position = 0

    def write(self, data: bytes) -> int:
        if self._abandoned:
            return len(data)
        self._hash.update(data)
        view = memoryview(data)
        while len(view):  # an unbuffered write may be short
            view = view[self._file.write(view) :]
        self.position += len(data)
        return len(data)

    def tell(self) -> int:
        return self.position

    def flush(self) -> None: ...

    def close(self) -> None:
        self._file.close()

    def abandon(self) -> None:
        """What is still written goes nowhere: the file never gets its footer."""
        self._abandoned = True

    @property
    def closed(self) -> bool:
        return self._file.closed

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


class PartWriter:
    """Writes tables as row groups into parts. Use as a context manager, then read `parts`."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.parts: list[Part] = []
        self._folder = folder
        self._max = max_bytes
        self._file: _HashingFile | None = None
        self._writer: pq.ParquetWriter | None = None
        self._rows = self._footer = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._finish()
        elif self._file is not None and self._writer is not None:
            self._file.abandon()
            with suppress(Exception):  # what broke the writer is on its way up already
                self._writer.close()
            self._file.close()

    def write(self, table: pa.Table, size: int) -> None:
        """Append one row group of about `size` bytes, in a new part if it does not fit into this one."""
        index = size // _BYTES_PER_INDEX_BYTE
        if self._file is not None and self._file.position + self._footer + size + index + _OVERHEAD_BYTES > self._max:
            self._finish()
        if self._writer is None:
            self._file = _HashingFile(self._folder / f"part-{len(self.parts):02d}")
            self._writer = pq.ParquetWriter(self._file, SCHEMA, **WRITER_OPTIONS)
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._rows += table.num_rows
        self._footer += _FOOTER_BYTES + index

    def _finish(self) -> None:
        if self._writer is None or self._file is None:
            return
        self._writer.close()
        self._file.close()
        path = self._folder / f"part-{len(self.parts):02d}"
        part = Part(path, self._rows, self._file.position, self._file.hexdigest())
        _read_back(part)
        self.parts.append(part)
        self._writer, self._file, self._rows, self._footer = None, None, 0, 0


def _read_back(part: Part) -> None:
    """Read the footer from the disk. Raises ShardError when the file is not what was written."""
    size = part.path.stat().st_size
    rows: int | str
    try:
        rows = pq.read_metadata(part.path).num_rows
    except pa.ArrowInvalid:
        rows = "no footer"
    if (rows, size) != (part.rows, part.size):
        raise ShardError(
            f"{part.path.name}: {part.rows} rows in {part.size} bytes were written, "
            f"the disk holds {rows} in {size}; check the disk and run again"
        )
