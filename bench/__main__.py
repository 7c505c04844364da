"""Measure the rows on a sandbox, print the table and write docs/performance.md."""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from bench import report
from bench.compare import Row
from bench.measure import BenchError
from bench.rows import ROWS
from bench.sizes import DEFAULT, FULL, QUICK, Sizes
from bench.testbed import ROOT, Testbed
from r2_hf_sandbox.processes import SandboxError
from r2_hf_sandbox.s3.server import start_s3


def main() -> int:
    options = _options()
    sizes = _sizes(options)
    rounds = options.rounds or (1 if options.quick else 3)
    names = tuple(options.rows.split(",")) if options.rows else tuple(ROWS)
    if unknown := [name for name in names if name not in ROWS]:
        sys.exit(f"bench: unknown rows {', '.join(unknown)}; there are {', '.join(ROWS)}")
    started = time.monotonic()
    rows: list[Row] = []
    try:
        with (
            tempfile.TemporaryDirectory(prefix="r2-hf-bench-", dir=options.folder) as folder,
            start_s3(Path(folder) / "s3") as s3,
        ):
            testbed = Testbed(s3, Path(folder), sizes, rounds, names, _log)
            for name in names:
                _log(f"{name} ({time.monotonic() - started:.0f} s)")
                rows.append(ROWS[name](testbed))
    except (BenchError, SandboxError) as error:
        sys.exit(f"bench: {error}")
    sys.stdout.write(report.terminal(rows) + "\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    if options.out or (names == tuple(ROWS) and not options.quick):
        _write(rows, options.out or ROOT / "docs", _about(sizes, rounds))
    return 0


def _write(rows: list[Row], folder: Path, about: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    report.write(folder / "performance.md", report.markdown(rows, about))


def _about(sizes: Sizes, rounds: int) -> str:
    objects = sizes.episodes * sizes.segments
    return (
        f"{os.cpu_count()} cores, loopback S3 server and Hub on the same machine, {objects:,} objects of "
        f"{sum(sizes.seconds) / 2 * 6:.0f} kB, {rounds} alternating rounds."
    )


def _sizes(options: argparse.Namespace) -> Sizes:
    sizes = QUICK if options.quick else FULL if options.full else DEFAULT
    if options.objects:
        sizes = sizes.with_objects(options.objects)
    if options.folders:
        sizes = replace(sizes, folders=options.folders)
    return sizes


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rows", help=f"only these, comma-separated; docs/ is not written: {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, help="of each row (3, quick: 1)")
    parser.add_argument("--objects", type=int, help=f"in the main bucket ({DEFAULT.episodes * DEFAULT.segments})")
    parser.add_argument("--folders", type=int, help=f"episode folders to scan ({DEFAULT.folders})")
    parser.add_argument("--full", action="store_true", help=f"{FULL.folders:,} folders to scan")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, a smoke test; docs/ is not written")
    parser.add_argument("--folder", type=Path, help="for temporary files (default: the system's)")
    parser.add_argument("--out", type=Path, help="a folder for performance.md; docs/ after a run of every row")
    parser.add_argument("--json", type=Path, help="a file for all samples")
    return parser.parse_args()


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
