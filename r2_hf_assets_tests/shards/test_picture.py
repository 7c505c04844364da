"""Histograms of Stats: well-formed, small SVG with proportional bars, the same for the same figures."""

import re
from dataclasses import replace
from xml.etree import ElementTree

from r2_hf_assets.shards.picture import draw
from r2_hf_assets.shards.stats import DNSMOS_EDGES, DURATION_EDGES_S, Stats

FULL = Stats(
    rows=300_000,
    duration_s=tuple(range(6000, 6000 - len(DURATION_EDGES_S) - 1, -1)),
    dnsmos=tuple(range(3000, 3000 + len(DNSMOS_EDGES) + 1)),
)


def texts(svg: str) -> list[str]:
    """Return the texts of the SVG, parsed from bytes like in a browser."""
    root = ElementTree.fromstring(svg.encode())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return ["".join(element.itertext()) for element in root.findall(".//{*}text")]


def test_bars_are_proportional_and_between_their_edges():
    durations = [0] * len(FULL.duration_s)
    durations[1], durations[34] = 10, 5  # from 1 to 2 s, and above 600 s
    svg = draw(Stats(rows=18, duration_s=tuple(durations)))
    step = 480 / 35
    bars = [(float(x), float(height)) for x, height in re.findall(r"M([\d.]+) 116v-([\d.]+)h", svg)]
    assert bars == [(round(step, 1), 90.0), (round(34 * step, 1), 45.0)]
    labels = dict(re.findall(r'<text x="(\d+)" [^>]*>([^<]+)', svg))
    assert labels[f"{step:.0f}"] == "1" and labels[f"{34 * step:.0f}"] == "600"


def test_titles_have_the_counts():
    titles = texts(draw(Stats(rows=18, duration_s=(15, *(0,) * 34))))
    assert titles[0] == "Duration, seconds: 15 rows, 3 null; highest bar 100.0%"
    assert "DNSMOS: 0 rows, 18 null" in titles


def test_full_bins_give_a_small_svg_and_equal_figures_the_same():
    assert len(draw(FULL)) < 5000
    assert draw(FULL) == draw(replace(FULL)) != draw(replace(FULL, rows=300_001))
    assert texts(draw(Stats()))[0] == "Duration, seconds: 0 rows"
