"""Draws Stats as SVG histograms of duration and DNSMOS, for the dataset card and a chunk's metadata.

The SVG is stored for every chunk, so it is small (3 kB). No library draws it: importing matplotlib takes 1.3 s and
69 MB. It has no background and colours of medium brightness, so light and dark themes both show it.
"""

from collections.abc import Sequence

from r2_hf_assets.shards.stats import DNSMOS_EDGES, DURATION_EDGES_S, Stats

_INK, _BARS = "#7a828c", "#3f86c9"  # contrast: 3.9 to 1 on white, 4.4 to 1 on Dagster's dark theme
_WIDTH, _TOP, _BASE, _HEIGHT = 480, 26, 116, 150


def draw(stats: Stats) -> str:
    """Return an SVG of 480 x 300 pixels."""
    durations = _histogram(
        "Duration, seconds", stats.rows, stats.duration_s, DURATION_EDGES_S, (1, 5, 10, 15, 20, 25, 30, 60, 600)
    )
    scores = _histogram("DNSMOS", stats.rows, stats.dnsmos, DNSMOS_EDGES, (1, 2, 3, 4, 5))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{2 * _HEIGHT}" font-family="sans-serif" '
        f'font-size="12" fill="{_INK}">{durations}<g transform="translate(0 {_HEIGHT})">{scores}</g></svg>'
    )


def _histogram(name: str, rows: int, counts: Sequence[int], edges: Sequence[float], marked: Sequence[float]) -> str:
    """Return a histogram with one bar a bin and a label for each edge in `marked`."""
    known, highest, step = sum(counts), max(counts), _WIDTH / len(counts)
    title = f"{name}: {known:,} rows" + (f", {rows - known:,} null" if rows > known else "")
    if known:
        title += f"; highest bar {highest / known:.1%}"
    bars = "".join(
        f"M{index * step:.1f} {_BASE}v-{count / highest * (_BASE - _TOP):.1f}h{step * 0.86:.1f}V{_BASE}"
        for index, count in enumerate(counts)
        if count
    )
    # Bin i is between edges i - 1 and i, so edge i is on its right.
    labels = "".join(
        f'<text x="{(edges.index(edge) + 1) * step:.0f}" y="{_BASE + 15}" text-anchor="middle">{edge}</text>'
        for edge in marked
    )
    return (
        f'<text y="14" font-size="13" font-weight="bold">{title}</text><path d="{bars}" fill="{_BARS}"/>'
        f'<path d="M0 {_BASE}.5h{_WIDTH}" stroke="{_INK}"/>{labels}'
    )
