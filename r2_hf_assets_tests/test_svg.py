"""SVG charts: well-formed whatever the texts and values, bars in proportion, small."""

import math
import re
from xml.etree import ElementTree

import pytest

from r2_hf_assets.svg import AMBER, GREEN, GREY, INK, Bar, bars, columns, top

NASTY = ["<script>alert('&')</script>", "a\0b\x1f\ufffe", "\ud800", "世界" * 40, "]]>", "", "x" * 10_000, '"quoted"']
BAD = [math.nan, math.inf, -math.inf, -5.0, 0.0, 1e300]


def parsed(svg: str) -> ElementTree.Element:
    """Through bytes, as a browser gets it."""
    return ElementTree.fromstring(svg.encode())


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in parsed(svg).findall(".//{*}text")]


def widths(svg: str) -> list[float]:
    return [float(width) for width in re.findall(r"h([\d.]+)v12", svg)]


def test_columns_are_as_high_as_their_counts():
    svg = columns("title", [0, 10, 5, 20], [(0, "a"), (2, "b"), (4, "c")])
    assert [float(height) for height in re.findall(r"v-([\d.]+)h", svg)] == [45.0, 22.5, 90.0]
    assert texts(svg) == ["title", "a", "b", "c"]
    assert [e.get("text-anchor") for e in parsed(svg).findall(".//{*}text")] == [None, None, "middle", "end"]


def test_bars_are_as_long_as_their_values_and_say_them():
    rows = [Bar("en", (8, 4, 2), "8 / 4 / 2"), Bar("de", (2, 0, 0), "2 / 0 / 0")]
    svg = bars("Chunks:", rows, (GREY, AMBER, GREEN), "2 others", ["10 planned", "4 built", "2 committed"])
    assert widths(svg) == [200, 100, 50, 50, 0, 0]
    assert texts(svg) == ["Chunks: 10 planned 4 built 2 committed", "en", "8 / 4 / 2", "de", "2 / 0 / 0", "2 others"]
    assert [e.get("fill") for e in parsed(svg).findall(".//{*}tspan")] == [INK, AMBER, GREEN]


@pytest.mark.parametrize("text", NASTY)
def test_any_text_is_well_formed_and_shown_as_text(text):
    for svg in (columns(text, [1], [(0, text)]), bars(text, [Bar(text, (1,), text)], note=text, legend=[text])):
        allowed = {"svg", "path", "text", "tspan"}
        assert {element.tag.rpartition("}")[2] for element in parsed(svg).iter()} <= allowed


def test_a_long_label_keeps_its_end_and_fits():
    (_, label, _) = texts(bars("t", [Bar("x" * 100 + "SPEAKER_01", (1,), "v")]))
    assert label.startswith("…x") and label.endswith("xSPEAKER_01") and len(label) == 21
    (_, wide, _) = texts(bars("t", [Bar("世" * 100, (1,), "v")]))
    assert wide == "…" + "世" * 10


@pytest.mark.parametrize("bad", BAD)
def test_bad_values_draw_nothing_strange(bad):
    for svg in (columns("t", [1.0, bad], []), bars("t", [Bar("a", (1.0,), "1"), Bar("b", (bad,), "?")])):
        parsed(svg)
        assert not re.search(r"nan|inf|h-?\d{4}", svg)


def test_nothing_is_a_picture_too():
    for svg in (columns("t", [], []), columns("t", [0, 0], []), bars("t", [])):
        assert texts(svg) == ["t"]


def test_a_histogram_is_about_a_kilobyte():
    svg = columns("Duration", [(n * 37) % 100 + 5 for n in range(42)], [(n, str(n)) for n in range(0, 42, 5)])
    assert len(svg.encode()) < 2200


def test_top_sums_the_others():
    rows = [("a", 1.0), ("b", 5.0), ("c", 3.0), ("d", math.nan)]
    assert top(rows, 2) == ([("b", 5.0), ("c", 3.0)], 2, 1.0)
    assert top(rows[:2], 2) == ([("b", 5.0), ("a", 1.0)], 0, 0)
