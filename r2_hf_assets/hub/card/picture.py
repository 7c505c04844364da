"""The card's picture: how long the segments are, and how good they sound. A PNG, since a card shows no data URIs.

Bars are shares of the segments whose value is known, a bar a bin. The ground is transparent and the ink is of a middle
grey, so it reads on light and on dark. The same figures give the same bytes (with the same release of matplotlib): no
date, no version, no random order. matplotlib is loaded when there is something to draw.
"""

import io
from collections.abc import Sequence
from typing import Any

from r2_hf_assets.shards.stats import DNSMOS_EDGES, DURATION_EDGES_S, Stats

INK, DURATION, DNSMOS = "#7d8590", "#3b86c8", "#3f9d78"
_DPI = 110


def draw(stats: Stats) -> bytes:
    """A PNG of 990 x 308 pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture = Figure(figsize=(9, 2.8), layout="constrained")
    FigureCanvasAgg(picture)
    left, right = picture.subplots(1, 2)
    _bars(left, stats.duration_s, DURATION_EDGES_S, DURATION, (1, 5, 10, 20, 30, 60, 600))
    left.set_xlabel("seconds")
    _bars(right, stats.dnsmos, DNSMOS_EDGES, DNSMOS, (1, 2, 3, 4, 5))
    right.set_xlabel("DNSMOS")
    left.set_ylabel("% of segments")
    out = io.BytesIO()
    picture.savefig(out, format="png", dpi=_DPI, transparent=True, metadata={"Software": None})
    return out.getvalue()


def _bars(axes: Any, counts: Sequence[int], edges: Sequence[float], colour: str, marked: Sequence[float]) -> None:
    """A bar a bin, all of one width; the edges in `marked` are written below."""
    total = sum(counts) or 1
    axes.bar(range(len(counts)), [100 * count / total for count in counts], width=0.9, color=colour)
    # Bin i lies between the edges i - 1 and i, so edge i stands right of it.
    places = {round(edge, 3): place + 0.5 for place, edge in enumerate(edges)}
    axes.set_xticks([places[edge] for edge in marked], [f"{edge:g}" for edge in marked])
    axes.set_xlim(-0.75, len(counts) - 0.25)
    axes.tick_params(colors=INK, labelsize=9)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
