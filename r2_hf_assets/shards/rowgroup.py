"""Collects rows until they make a row group, touching each audio byte once.

Bodies are copied into one buffer that is used again for every row group, and the audio column is built over it with
Array.from_buffers. (pa.array over memoryviews never releases them: memory grows by every byte fetched.)
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from r2_hf_assets.bucket.segments import Segment
from r2_hf_assets.shards.columns import floats, strings
from r2_hf_assets.shards.schema import AUDIO, SCHEMA


@dataclass
class RowGroup:
    """Rows waiting to be written. `limit` in bytes of audio and text; a single larger row makes a group of its own."""

    limit: int
    size: int = 0
    _audio: pa.Buffer | None = None
    _filled: int = 0
    _offsets: "array[int]" = field(default_factory=lambda: array("i", [0]))
    _segments: list[Segment] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._segments)

    def has_room(self, segment: Segment, audio_size: int) -> bool:
        """Whether the row may still go into this group."""
        return not self._segments or self.size + row_size(segment, audio_size) <= self.limit

    def add(self, segment: Segment, pieces: Sequence[bytes]) -> None:
        """Take a row; its audio comes in pieces, which are copied."""
        size = sum(map(len, pieces))
        if self._audio is None or self._filled + size > self._audio.size:
            self._grow(self._filled + size)
        audio = _bytes(self._audio)
        for piece in pieces:
            end = self._filled + len(piece)
            audio[self._filled : end] = piece
            self._filled = end
        self._offsets.append(self._filled)
        self._segments.append(segment)
        self.size += row_size(segment, size)

    def _grow(self, size: int) -> None:
        grown = pa.allocate_buffer(max(size, self.limit))
        if self._audio is not None and self._filled:
            _bytes(grown)[: self._filled] = _bytes(self._audio)[: self._filled]
        self._audio = grown

    def to_table(self) -> pa.Table:
        """The rows as a table over the buffer: write it before `clear`, and keep nothing of it."""
        rows = self._segments
        audio_bytes = pa.Array.from_buffers(
            pa.binary(), len(rows), [None, pa.py_buffer(self._offsets), self._audio or pa.py_buffer(b"")]
        )
        paths = strings([row.key for row in rows])
        columns = [
            pa.StructArray.from_arrays([paths, audio_bytes], fields=list(AUDIO)),
            strings([row.text for row in rows]),
            strings([row.speaker_id for row in rows]),
            floats([row.duration for row in rows]),
            floats([row.dnsmos for row in rows]),
            strings([row.language for row in rows]),
        ]
        return pa.Table.from_arrays(columns, schema=SCHEMA)

    def clear(self) -> None:
        """Empty the group; the buffer stays, unless a giant row blew it up."""
        if self._audio is not None and self._audio.size > self.limit:
            self._audio = None
        self._filled = self.size = 0
        self._offsets = array("i", [0])
        self._segments = []


def _bytes(buffer: pa.Buffer) -> memoryview:
    return memoryview(buffer).cast("B")  # Arrow's own format is signed


def row_size(segment: Segment, audio_size: int) -> int:
    """Bytes a row counts for: its audio and its strings."""
    return audio_size + _utf8(segment.key) + _utf8(segment.text or "") + _utf8(segment.speaker_id or "")


def _utf8(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
