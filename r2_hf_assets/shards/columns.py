"""Arrow columns from Python values, by their buffers.

pa.array would do, but it imports pandas wherever that is installed, only to see whether it was given something of
pandas': 0.4 s and 50 MB in every run.
"""

from array import array
from collections.abc import Sequence
from itertools import accumulate

import pyarrow as pa


def strings(values: Sequence[str | None]) -> pa.Array:
    """A string column; the values must be valid UTF-8 and less than 2 GiB together."""
    encoded = [b"" if value is None else value.encode() for value in values]
    offsets = array("i", accumulate(map(len, encoded), initial=0))
    buffers = [_validity(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def floats(values: Sequence[float | None]) -> pa.Array:
    """A float32 column, rounded as a C cast does it."""
    numbers = array("d", (0.0 if value is None else value for value in values))
    doubles = pa.Array.from_buffers(pa.float64(), len(values), [_validity(values), pa.py_buffer(numbers)])
    return doubles.cast(pa.float32(), safe=False)


def _validity(values: Sequence[object]) -> pa.Buffer | None:
    """A bit a value, the first lowest; none when no value is null."""
    if None not in values:
        return None
    bits = int("".join("0" if value is None else "1" for value in reversed(values)), 2)
    return pa.py_buffer(bits.to_bytes((len(values) + 7) // 8, "little"))
