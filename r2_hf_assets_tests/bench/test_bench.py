"""The benchmark runs its rows, their baselines and its report at a tiny size. Speed is not tested.

Not run here are the rows that start the same processes as others, at other sizes; `make bench ARGS=--quick` has them.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.compare import Figure, Row
from bench.measure import measure
from bench.report import terminal, write
from bench.rows import ROWS
from r2_hf_assets_tests.support.world import BIN, ROOT

FIGURES = {
    "script": ["wall", "CPU"],
    "build": ["wall"],
    "cpu": ["CPU seconds a GB"],
    "transfer": ["wall"],
    "floor": [],
    "line": ["wall"],
    "disk": ["most during the run", "left at its end"],
    "parquet": ["wall", "file size"],
    "scan": ["wall", "peak"],
    "due": ["seconds", "queries, over those at 20"],
    "chunks": ["over its data time"],
    "latency": ["objects/s over the ceiling"],
    "heads": ["HEADs/s over the ceiling"],
    "static": [],
    "dedup": [],
    "readers": [],
    "choosing": ["bytes, episodes that follow one another"],
}
LIKE_OTHERS = {"one_chunk", "memory"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_rows_run_and_report_numbers(tmp_path: Path) -> None:
    (tmp_path / "performance.md").write_text(
        "# By hand\n\n<!-- bench: begin -->\nof last time\n<!-- bench: end -->\n\nAfter it.\n"
    )
    numbers = tmp_path / "numbers.json"
    assert FIGURES.keys() | LIKE_OTHERS == set(ROWS)
    folders: list[str | Path] = ["--folder", tmp_path, "--out", tmp_path, "--json", numbers]
    run = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--rows", ",".join(FIGURES), *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    rows = {row["name"]: row for row in json.loads(numbers.read_text())}
    assert list(rows) == list(FIGURES)
    for name, figures in FIGURES.items():
        row = rows[name]
        if name in ("transfer", "line") and not _installed("s5cmd"):
            assert row["missing"] == "baseline not installed (s5cmd): make bench"
            assert row["missing"] in run.stdout
            continue
        assert [figure["name"] for figure in row["figures"]] == figures
        assert all(math.isfinite(figure["value"]) for figure in row["figures"])
        assert row["samples"] and all(
            sample["wall"] > 0 and sample["cpu"] > 0 and sample["peak_mb"] > 5
            for samples in row["samples"].values()
            for sample in samples
        )
    assert _numbers(rows, "due", "queries") == {"20": 2, "200": 2}
    assert _numbers(rows, "chunks", "chunks") == {"one run": 4, "data alone": 4, "new process": None}
    assert len(set(_numbers(rows, "scan", "folders").values())) == 1
    assert len(set(_numbers(rows, "build", "objects").values())) == 1
    assert len(set(_numbers(rows, "latency", "objects").values())) == 1
    assert len(set(_numbers(rows, "static", "objects").values())) == 1
    assert rows["disk"]["samples"]["ours"][0]["reported"]["most_mb"] > 0
    assert [line[0] for line in rows["floor"]["table"]][1:4] == ["bare GETs", "bare hf upload", "ours"]
    assert all(sum(sample[0]["servers"].values()) > 0 for sample in rows["floor"]["samples"].values())
    read = {name.rpartition(" ")[2]: sample[0]["reported"] for name, sample in rows["readers"]["samples"].items()}
    assert [read[what]["rows"] for what in ("first", "shuffle", "rows")] == [1, 1, 10]
    assert 0 < read["text"]["bytes"] < read["first"]["bytes"] and read["text"]["rows"] > 100
    (_, everything, *chosen) = rows["choosing"]["table"]
    assert everything[1] == "2,000" and [line[1] for line in chosen] == ["100", "100", "100"]
    assert 1 <= int(chosen[0][2]) <= int(chosen[2][2]) <= int(everything[2])
    head, *variants = rows["dedup"]["table"]
    assert head[:5] == ["pages", "file, MB", "first, MB", "unchanged, MB", "one changed, MB"] and len(variants) == 2
    for _, size, first, unchanged, changed, *_ in variants:
        assert 0 <= float(unchanged) < 0.1 * float(changed)
        assert 0.9 * float(size) < float(first) <= 1.01 * float(size)
    text = (tmp_path / "performance.md").read_text()
    assert re.fullmatch(
        r"# By hand\n\n<!-- bench: begin -->\n.*\| target \|.*\n<!-- bench: end -->\n\nAfter it\.\n", text, re.DOTALL
    )
    assert "of last time" not in text
    assert {path.name for path in tmp_path.iterdir()} <= {"performance.md", "numbers.json"}


def test_a_command_is_measured_with_its_children(tmp_path: Path) -> None:
    child = "import time\nheld = bytearray(60_000_000)\nwhile time.process_time() < 0.3: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); print('{{\"held\": 60}}')"
    sample = measure([sys.executable, "-c", code], dict(os.environ), tmp_path)
    assert sample.cpu >= 0.3
    assert 60 < sample.peak_mb < 160
    assert sample.reported == {"held": 60}


def test_a_figure_is_met_or_missed_by_its_target() -> None:
    assert Figure("wall", 0.5, 0.5).met and not Figure("wall", 0.51, 0.5).met
    assert Figure("rate", 0.9, 0.85, at_most=False).met and not Figure("rate", 0.8, 0.85, at_most=False).met
    row = Row("r", "what", "base", (Figure("wall", 0.25, 0.2), Figure("peak", 699.6, 700, "MB")), ("a detail",))
    assert terminal([row]).splitlines()[2:] == [
        "  wall: 0.250 x, target <= 0.2 x: **missed**",
        "  peak: 700 MB, target <= 700 MB: met",
        "    a detail",
    ]


def test_a_report_without_marks_gets_them_appended(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    path.write_text("# By hand\n")
    write(path, "one")
    write(path, "two")
    assert path.read_text() == "# By hand\n\n<!-- bench: begin -->\ntwo\n<!-- bench: end -->\n"


def test_the_lock_names_no_index_and_fits_the_main_one() -> None:
    ours, main = ((ROOT / path).read_text() for path in ("bench/requirements.lock", "requirements.lock"))
    assert "://" not in ours and "index-url" not in ours
    pins = [dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE)) for text in (ours, main)]
    assert "s5cmd" in pins[0]
    assert all(pins[1][name] == version for name, version in pins[0].items() if name in pins[1])
    blocks = re.findall(r"^[a-zA-Z0-9][^\s]*==[^\s]+.*(?:\n    --hash=.*)*", ours, re.MULTILINE)
    assert all("--hash=sha256:" in block for block in blocks)


def _numbers(rows: dict, row: str, key: str) -> dict:
    return {name: samples[0]["reported"].get(key) for name, samples in rows[row]["samples"].items()}


def _installed(name: str) -> bool:
    return shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ['PATH']}") is not None
