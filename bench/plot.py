"""A picture of the table: each figure over what it was to reach, so that all of them share one line to stay below."""

from collections.abc import Sequence
from pathlib import Path

from bench.compare import Row

_MET, _MISSED = "#3a7d5c", "#c0563e"


def plot(rows: Sequence[Row], path: Path) -> bool:
    """Write a PNG; False when matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    bars = [(f"{row.name}: {figure.of}", figure) for row in rows for figure in row.figures][::-1]
    picture = Figure(figsize=(9, 0.38 * len(bars) + 1.2), layout="constrained")
    FigureCanvasAgg(picture)
    axes = picture.subplots()
    shares = [figure.share for _, figure in bars]
    axes.barh([name for name, _ in bars], shares, color=[_MET if figure.met else _MISSED for _, figure in bars])
    for number, (_, figure) in enumerate(bars):
        unit = "" if figure.unit == "x" else f" {figure.unit}"
        axes.text(shares[number], number, f" {figure.value:.3g}{unit} (to reach {figure.reach:.3g}{unit})", va="center")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlim(0, max([1.0, *shares]) * 1.45)
    axes.set_xlabel("measured over what was to be reached; left of 1 is met")
    axes.spines[["top", "right"]].set_visible(False)
    picture.savefig(path, dpi=110)
    return True
