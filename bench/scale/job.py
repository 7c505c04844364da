"""The simulation: a plan, a history of copied runs, queries; prints tables in Markdown. `bench.scale` runs it."""

import json
import sys
from pathlib import Path

from dagster import DagsterInstance

from bench.scale import plan
from bench.scale.history import Template, event_counts, real_run, record, sizes
from bench.scale.queries import time_queries, time_status
from bench.scale.rows import measure as measure_rows

_HEAD = "| | first, s | again, s | CPU s of it, without PostgreSQL's |\n|---|---|---|---|"


def main() -> int:
    size, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
    if size["chunks"]:
        _print("## The plan\n\n| | |\n|---|---|")
        for what, value in plan.measure(folder / "plan", size["chunks"], size["episodes"], size["languages"]):
            _print(f"| {what} | {value} |")
    if size["indexes"]:
        _print("\n## All rows\n\n| | |\n|---|---|")
        for what, value in measure_rows(folder / "rows", size["indexes"], size["episodes"]):
            _print(f"| {what} | {value} |")
    if size["partitions"]:
        _history(size["partitions"], size["languages"])
    return 0


def _history(partitions: int, languages: int) -> None:
    with DagsterInstance.get() as instance:
        template = real_run(instance)
        _print_run(template)
        before = sizes(instance)
        chunks = plan.add_chunks(partitions + 1, languages)[:partitions]
        seconds, cpu = record(instance, template, chunks)
        _print_growth(before, sizes(instance), len(chunks), seconds, cpu)
        _print(f"\n## Queries, {len(chunks):,} partitions materialized\n\n{_HEAD}")
        for query in (time_status(), *time_queries(instance, chunks)):
            _print(f"| {query.name} | {query.first_s:.2f} | {query.again_s:.2f} | {query.cpu_s:.2f} |")


def _print_run(template: Template) -> None:
    counts = ", ".join(f"{count} {kind}" for kind, count in event_counts(template).most_common(6))
    _print(f"\n## A run\n\n{len(template.events)} events, {template.bytes / 1e3:.0f} kB as text: {counts}, ...")


def _print_growth(
    before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]], runs: int, seconds: float, cpu: float
) -> None:
    _print(f"\n## The database, {runs:,} runs (to store one: {seconds:.2f} s, {cpu:.2f} CPU s without PostgreSQL's)\n")
    _print("| table | rows | rows a run | MB | kB a run |\n|---|---|---|---|---|")
    total = 0
    for table, (rows, size) in sorted(after.items(), key=lambda item: -item[1][1]):
        rows_before, size_before = before.get(table, (0, 0))
        grown = size - size_before
        total += grown
        if grown > 50_000:
            a_run = f"{(rows - rows_before) / runs:.1f}" if rows else ""
            _print(f"| {table} | {rows:,} | {a_run} | {size / 1e6:.1f} | {grown / runs / 1e3:.1f} |")
    _print(f"| all | | | {total / 1e6:.1f} | {total / runs / 1e3:.1f} |")


def _print(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
