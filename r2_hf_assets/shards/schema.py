"""The columns of the dataset and their Parquet encoding.

COLUMNS defines the Arrow schema, the `huggingface` features in its metadata (load_dataset and the viewer play the audio
with them), the dataset card, Dagster's table metadata and the row groups. A new column is a line there and an attribute
of bucket.segments.Segment. Files already on the Hub keep their columns.

audio.bytes is MP3: compression, a dictionary or statistics would cost seconds and save nothing. The other columns are
zstd. A page index lets readers fetch single pages.
"""

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """A column of the dataset.

    Attributes:
        dtype: "audio" or the name of an Arrow type, as in a dataset card.
        sources: "mp3", or fields of all_segments.json.
        attribute: of Segment.
        repeats: values repeat, so a dictionary saves bytes.
        statistics: readers filter by it.
    """

    name: str
    dtype: str
    description: str
    sources: tuple[str, ...]
    attribute: str
    repeats: bool = False
    statistics: bool = True

    @property
    def type(self) -> pa.DataType:
        return AUDIO if self.dtype == "audio" else pa.type_for_alias(self.dtype)

    @property
    def feature(self) -> dict[str, str]:
        return {"_type": "Audio"} if self.dtype == "audio" else {"dtype": self.dtype, "_type": "Value"}


AUDIO = pa.struct([pa.field("path", pa.string()), pa.field("bytes", pa.binary())])

COLUMNS = (
    Column("audio", "audio", "MP3 as stored in the bucket; path is its key there", ("mp3",), "key", statistics=False),
    Column("text", "string", "transcript", ("text",), "text", statistics=False),
    Column("speaker_id", "string", "speaker within the episode", ("speaker",), "speaker_id", repeats=True),
    Column("duration_seconds", "float32", "end - start", ("start", "end"), "duration"),
    Column("dnsmos", "float32", "DNSMOS speech quality, 1 to 5", ("dnsmos",), "dnsmos"),
    Column("language", "string", "normalized code", ("language",), "language", repeats=True),
)

SCHEMA = pa.schema(
    [pa.field(column.name, column.type) for column in COLUMNS],
    metadata={"huggingface": json.dumps({"info": {"features": {c.name: c.feature for c in COLUMNS}}})},
)

WRITER_OPTIONS: dict[str, Any] = {
    "compression": {"audio.path": "zstd", "audio.bytes": "none"} | {c.name: "zstd" for c in COLUMNS[1:]},
    "use_dictionary": [column.name for column in COLUMNS if column.repeats],
    "write_statistics": [column.name for column in COLUMNS if column.statistics],
    "write_page_index": True,
    # pyarrow checks the page size after each batch of rows, so a page of audio has 2.5 MB; at the default of 1024 rows
    # it has 80 MB. Larger pages deduplicate better when an episode changes, but take more memory to copy (memory.py).
    "write_batch_size": 32,
}


_CODES = {pa.int32(): "i", pa.uint64(): "Q", pa.float64(): "d"}


# pa.array could make these columns, but it imports pandas wherever that is installed: 0.4 s and 50 MB in every run.
def strings(values: Sequence[str | None]) -> pa.Array:
    """Return a string column of valid UTF-8, less than 2 GiB in all."""
    encoded = [b"" if value is None else value.encode() for value in values]
    offsets = array("i", accumulate(map(len, encoded), initial=0))
    buffers = [_validity(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def numbers(values: Sequence[float | None], dtype: pa.DataType) -> pa.Array:
    """Return a column of one of the types in _CODES; float32 is rounded like a C cast."""
    if dtype == pa.float32():
        return numbers(values, pa.float64()).cast(dtype, safe=False)
    buffer: array[float] = array(_CODES[dtype], [0 if value is None else value for value in values])
    return pa.Array.from_buffers(dtype, len(values), [_validity(values), pa.py_buffer(buffer)])


def _validity(values: Sequence[object]) -> pa.Buffer | None:
    """Return one bit a value, lowest first, or None without nulls."""
    if None not in values:
        return None
    bits = int("".join("0" if value is None else "1" for value in reversed(values)), 2)
    return pa.py_buffer(bits.to_bytes((len(values) + 7) // 8, "little"))
