"""The table, on the terminal and between two marks in docs/performance.md."""

from collections.abc import Sequence
from pathlib import Path

from bench.compare import Figure, Row

_BEGIN = "<!-- bench: begin -->"
_END = "<!-- bench: end -->"
_NEW = f"# Performance\n\n{_BEGIN}\n{_END}\n"


def terminal(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        lines.append(f"\n{row.name}: {row.what}" + (f"; baseline: {row.baseline}" if row.baseline else ""))
        lines += [
            f"  {figure.name}: {_value(figure)}, target {_target(figure)}: {_verdict(figure)}" for figure in row.figures
        ]
        lines += [f"    {detail}" for detail in row.details]
        lines += [f"    {' | '.join(cells)}" for cells in row.table]
        lines += [f"  {row.missing}"] if row.missing else []
    return "\n".join(lines)


def markdown(rows: Sequence[Row], about: str) -> str:
    """Return the table, then the medians behind it."""
    lines = [about, "", "| what | baseline | figure | measured | target | |", "|---|---|---|---|---|---|"]
    for row in rows:
        for number, figure in enumerate(row.figures):
            what, baseline = (row.what, row.baseline) if number == 0 else ("", "")
            lines.append(
                f"| {what} | {baseline} | {figure.name} | {_value(figure)} | {_target(figure)} | {_verdict(figure)} |"
            )
        if row.missing:
            lines.append(f"| {row.what} | {row.baseline} | | | | {row.missing} |")
    lines += ["", "Medians of the rounds (least-most):", ""]
    lines += [f"- {row.name}: {'; '.join(row.details)}" for row in rows if row.details]
    for row in rows:
        lines += _table(row) if row.table else []
    return "\n".join(lines)


def _table(row: Row) -> list[str]:
    head, *rest = (f"| {' | '.join(cells)} |" for cells in row.table)
    return ["", f"{row.name}: {row.what}", "", head, "|---" * len(row.table[0]) + "|", *rest]


def write(path: Path, text: str) -> None:
    """Write `text` between the marks, which are appended to a file without them."""
    old = path.read_text() if path.exists() else _NEW
    if _BEGIN not in old or _END not in old:
        old = f"{old.rstrip()}\n\n{_BEGIN}\n{_END}\n"
    before, _, rest = old.partition(_BEGIN)
    path.write_text(f"{before}{_BEGIN}\n{text}\n{_END}{rest.partition(_END)[2]}")


def _value(figure: Figure) -> str:
    return f"{figure.value:.0f} {figure.unit}" if figure.unit == "MB" else f"{figure.value:.3f} {figure.unit}"


def _target(figure: Figure) -> str:
    sign = "<=" if figure.at_most else ">="
    return f"{sign} {figure.target:.3g} {figure.unit}"


def _verdict(figure: Figure) -> str:
    return "met" if figure.met else "**missed**"
