"""The card's picture: a PNG that the figures alone decide."""

from collections import Counter
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageColor

from r2_hf_assets.hub.card.picture import DNSMOS, DURATION, INK, draw
from r2_hf_assets_tests.hub.card.samples import stats


def test_the_same_figures_give_the_same_small_picture():
    data = draw(stats())
    assert draw(stats()) == data
    assert len(data) < 50_000
    assert draw(replace(stats(), dnsmos=tuple(reversed(stats().dnsmos)))) != data


@pytest.mark.parametrize("ground", [(255, 255, 255), (11, 15, 25)])
def test_ink_stands_out_from_a_light_and_a_dark_ground(ground):
    picture = Image.open(BytesIO(draw(stats())))
    pixels: Counter[Any] = Counter({colour: count for count, colour in picture.getcolors(maxcolors=1 << 20) or []})
    (clear, _), *inks = pixels.most_common(4)
    assert clear[3] == 0, "the ground shows through"
    assert {colour for colour, _ in inks} >= {(*ImageColor.getrgb(ink), 255) for ink in (DURATION, DNSMOS)}
    for ink in (INK, DURATION, DNSMOS):
        assert _contrast(ImageColor.getrgb(ink), ground) > 3  # what WCAG asks of graphics


def _contrast(one, other) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour) -> float:
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (part / 255 for part in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_no_values_at_all_draw_an_empty_picture():
    nothing = replace(stats(), duration_s=(0,) * len(stats().duration_s), dnsmos=(0,) * len(stats().dnsmos))
    assert draw(nothing).startswith(b"\x89PNG")
