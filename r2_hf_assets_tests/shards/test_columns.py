"""Columns made from buffers equal those of pa.array."""

import subprocess
import sys

import pyarrow as pa
import pytest

from r2_hf_assets.shards.schema import numbers, strings


@pytest.mark.parametrize(
    "values",
    [
        [],
        ["a"],
        [None],
        ["", None, "b"],
        [None] * 8 + ["nine"],
        ["Grüße", "日本", "\x00", None, "👋" * 1000] * 13,
        [str(n) if n % 3 else None for n in range(1000)],
    ],
    ids=lambda values: f"{len(values)} values",
)
def test_strings(values):
    made = strings(values)
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.string()))
    assert made.null_count == values.count(None)


@pytest.mark.parametrize(
    "values",
    [[], [0.0], [None], [0.1, None, -1.5], [None] * 8 + [3.25], [1e39, -1e39, 1e-46, float("inf")], [0, 2, None]],
    ids=lambda values: f"{values[:2]}",
)
def test_floats(values):
    made = numbers(values, pa.float32())
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.float32()))


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (pa.int32(), [0, None, 2**31 - 1, -(2**31)]),
        (pa.uint64(), [0, None, 2**64 - 1, 2**63] * 5),
        (pa.float64(), [0.1, None, 1e300, 5]),
        (pa.int32(), [None] * 9),
        (pa.uint64(), []),
    ],
    ids=str,
)
def test_numbers_of_other_types(dtype, values):
    made = numbers(values, dtype)
    made.validate(full=True)
    assert made.equals(pa.array(values, dtype))
    assert made.null_count == values.count(None)


@pytest.mark.parametrize(("dtype", "value"), [(pa.int32(), 2**31), (pa.uint64(), -1), (pa.uint64(), 2**64)], ids=str)
def test_a_number_outside_its_type_is_an_error(dtype, value):
    with pytest.raises(OverflowError):
        numbers([value], dtype)


def test_a_build_imports_no_pandas():
    code = (
        "import sys; import pyarrow as pa;"
        "from r2_hf_assets.shards.schema import numbers, strings; strings(['a', None]);"
        "numbers([1.0], pa.float32()); numbers([1], pa.int32());"
        "import r2_hf_assets.shards.build; print('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
