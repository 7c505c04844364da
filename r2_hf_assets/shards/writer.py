"""Row groups -> Parquet parts, none larger than the limit, hashed while they are written.

Rotation depends only on the rows, so the same input gives byte-identical files. A part gets its name when it is
whole: it is written as part-NN into a folder nobody reads, its footer is read back, and the caller publishes it.
Leaving by an exception publishes nothing.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from r2_hf_assets import activity
from r2_hf_assets.errors import ShardError
from r2_hf_assets.shards.schema import SCHEMA, WRITER_OPTIONS
from r2_hf_assets.shards.tailhash import TailHash

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


class PartWriter:
    """Writes tables as row groups into parts. Use as a context manager, then read `parts`."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.parts: list[Part] = []
        self._folder = folder
        self._max = max_bytes
        self._sink: pa.OSFile | None = None
        self._hash: TailHash | None = None
        self._writer: pq.ParquetWriter | None = None
        self._rows = self._footer = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._abandon()

    def write(self, table: pa.Table, size: int) -> None:
        """Append one row group of about `size` bytes, in a new part if it does not fit into this one."""
        index = size // _BYTES_PER_INDEX_BYTE
        if self._sink is not None and self._sink.tell() + self._footer + size + index + _OVERHEAD_BYTES > self._max:
            self._finish()
        if self._writer is None or self._sink is None or self._hash is None:
            path = self._path()
            path.touch(exist_ok=False)
            self._sink = pa.OSFile(str(path), "wb")
            self._hash = TailHash(path)
            self._writer = pq.ParquetWriter(self._sink, SCHEMA, **WRITER_OPTIONS)
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        activity.advance()
        self._rows += table.num_rows
        self._footer += _FOOTER_BYTES + index

    def _path(self) -> Path:
        return self._folder / f"part-{len(self.parts):02d}"

    def _finish(self) -> None:
        if self._writer is None or self._sink is None or self._hash is None:
            return
        self._writer.close()
        size = self._sink.tell()
        self._sink.close()
        part = Part(self._path(), self._rows, size, self._hash.finish(size))
        self._hash.close()
        _read_back(part)
        self.parts.append(part)
        self._writer, self._sink, self._hash, self._rows, self._footer = None, None, None, 0, 0

    def _abandon(self) -> None:
        """Let go of a part that is not whole. The sink goes first, so that the writer can add no footer."""
        if self._sink is not None:
            self._sink.close()
        if self._writer is not None:
            with suppress(Exception):  # it can't write any more, which is the point
                self._writer.close()
        if self._hash is not None:
            self._hash.close()


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
