"""Collects rows into a row group and copies each audio byte once.

Bodies are copied into one buffer, which every row group reuses, and Array.from_buffers makes the audio column from it.
(pa.array over memoryviews never releases them: memory grows by every byte fetched.)
"""

from array import array
from collections.abc import Sequence

import pyarrow as pa

from r2_hf_assets.bucket.segments import Segment
from r2_hf_assets.shards.schema import AUDIO, COLUMNS, SCHEMA, numbers, strings


class RowGroup:
    """Rows of up to `limit` bytes of audio and text, or a single larger row."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._audio = memoryview(b"")
        self._offsets = array("i", [0])
        self._segments: list[Segment] = []

    def __len__(self) -> int:
        return len(self._segments)

    def has_room(self, segment: Segment, audio_size: int) -> bool:
        return not self._segments or self.size + row_size(segment, audio_size) <= self.limit

    def add(self, segment: Segment, pieces: Sequence[bytes]) -> None:
        """Add a row for which there is room, and copy the pieces of its audio."""
        size, end = sum(map(len, pieces)), self._offsets[-1]
        if not self._segments and len(self._audio) < max(size, self.limit):
            self._audio = memoryview(pa.allocate_buffer(max(size, self.limit))).cast("B")
        for piece in pieces:
            start, end = end, end + len(piece)
            self._audio[start:end] = piece
        self._offsets.append(end)
        self._segments.append(segment)
        self.size += row_size(segment, size)

    def to_table(self) -> pa.Table:
        """Return a table over the buffer; it is valid until `clear`."""
        rows, buffers = self._segments, [None, pa.py_buffer(self._offsets), pa.py_buffer(self._audio)]
        audio, *others = COLUMNS
        paths = strings([getattr(row, audio.attribute) for row in rows])
        bodies = pa.Array.from_buffers(pa.binary(), len(rows), buffers)
        columns = [pa.StructArray.from_arrays([paths, bodies], fields=list(AUDIO))]
        for column in others:
            values = [getattr(row, column.attribute) for row in rows]
            columns.append(strings(values) if column.dtype == "string" else numbers(values, column.type))
        return pa.Table.from_arrays(columns, schema=SCHEMA)

    def clear(self) -> None:
        """Remove the rows, and the buffer if a row above the limit enlarged it."""
        if len(self._audio) > self.limit:
            self._audio = memoryview(b"")
        self.size = 0
        self._offsets = array("i", [0])
        self._segments = []


def row_size(segment: Segment, audio_size: int) -> int:
    """Return the bytes of a row's audio and strings."""
    return audio_size + _utf8(segment.key) + _utf8(segment.text or "") + _utf8(segment.speaker_id or "")


def _utf8(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
