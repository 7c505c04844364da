"""The simulation: a plan, a history of copied runs, questions; prints tables in Markdown. Run by `python -m
bench.scale`."""

import json
import sys
from collections import Counter
from pathlib import Path

from dagster import DagsterInstance

from bench.scale import plan
from bench.scale.history import Template, event_counts, real_run, record, sizes
from bench.scale.questions import ask

_HEAD = "| | first, s | again, s | CPU s of it, without PostgreSQL's |\n|---|---|---|---|"


def main() -> int:
    size, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
    if size["chunks"]:
        _say("## The plan\n\n| | |\n|---|---|")
        for what, value in plan.measure(folder / "plan", size["chunks"], size["episodes"], size["languages"]):
            _say(f"| {what} | {value} |")
    if size["partitions"]:
        _history(size["partitions"], size["languages"])
    return 0


def _history(partitions: int, languages: int) -> None:
    with DagsterInstance.get() as instance:
        template = real_run(instance)
        _say_run(template)
        before = sizes(instance)
        chunks = plan.spread(partitions + 1, languages)
        chunks = [chunk for chunk in chunks if chunk.name != ("en", 0)][:partitions]
        took, cpu = record(instance, template, chunks)
        _say_growth(before, sizes(instance), len(chunks), took, cpu)
        _say(f"\n## Answers, {len(chunks):,} partitions materialized\n\n{_HEAD}")
        for found in ask(instance, chunks):
            _say(f"| {found.question} | {found.first_s:.2f} | {found.again_s:.2f} | {found.cpu_s:.2f} |")


def _say_run(template: Template) -> None:
    kinds = Counter(event_counts(template))
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(6))
    _say(f"\n## A run\n\n{len(template.events)} events, {template.bytes / 1e3:.0f} kB as text: {told}, ...")


def _say_growth(
    before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]], runs: int, seconds: float, cpu: float
) -> None:
    _say(f"\n## The database, {runs:,} runs (to store one: {seconds:.2f} s, {cpu:.2f} CPU s without PostgreSQL's)\n")
    _say("| table | rows | rows a run | MB | kB a run |\n|---|---|---|---|---|")
    total = 0
    for table, (rows, size) in sorted(after.items(), key=lambda item: -item[1][1]):
        rows_before, size_before = before.get(table, (0, 0))
        grown = size - size_before
        total += grown
        if grown > 50_000:
            a_run = f"{(rows - rows_before) / runs:.1f}" if rows else ""
            _say(f"| {table} | {rows:,} | {a_run} | {size / 1e6:.1f} | {grown / runs / 1e3:.1f} |")
    _say(f"| all | | | {total / 1e6:.1f} | {total / runs / 1e3:.1f} |")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
