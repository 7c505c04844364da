"""Columns made from buffers equal those of pa.array."""

import subprocess
import sys

import pyarrow as pa
import pytest

from r2_hf_assets.shards.schema import floats, strings


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
    made = floats(values)
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.float32()))


def test_a_build_imports_no_pandas():
    code = (
        "import sys; from r2_hf_assets.shards.schema import floats, strings; strings(['a', None]); floats([1.0]);"
        "import r2_hf_assets.shards.build; print('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
