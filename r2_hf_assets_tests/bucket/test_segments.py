"""One entry becomes a Segment, its unusable fields null, or a Reject."""

import json
import math
import struct
from typing import Any

import pytest

from r2_hf_assets.bucket.segments import Reject, Segment, to_segment
from r2_hf_assets_tests.support.build_samples import entry

WHERE: dict[str, Any] = {
    "episode": "en-US/ep",
    "number": 3,
    "key": "processed/en-US/ep/ep_000003.mp3",
    "language": "en",
    "settling": False,
}
FLOAT32_MAX = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]


def read(value: Any, **options: Any) -> Segment:
    segment = to_segment(value, **(WHERE | options))
    assert isinstance(segment, Segment)
    return segment


def test_a_valid_entry_becomes_a_segment():
    assert read(entry(3)) == Segment(
        episode="en-US/ep",
        number=3,
        key="processed/en-US/ep/ep_000003.mp3",
        text="words of segment 3",
        speaker_id="SPEAKER_01",
        start=3.0,
        end=4.5,
        duration=1.5,
        dnsmos=3.25,
        language="en",
        repaired=False,
        settling=False,
    )


def test_settling_is_passed_on():
    assert read(entry(), settling=True).settling is True


@pytest.mark.parametrize("value", [None, 1, 1.5, "text", [], [entry()], True])
def test_an_entry_that_is_no_object_is_rejected(value):
    assert to_segment(value, **WHERE) == Reject(
        "en-US/ep",
        3,
        "processed/en-US/ep/ep_000003.mp3",
        "entry_not_an_object",
        f"a JSON {type(value).__name__}",
    )


def ascii_start(text: str) -> str:
    return ascii(text[:20])


def test_an_empty_object_is_a_row_of_nulls():
    row = read({})
    assert (row.text, row.speaker_id, row.duration, row.dnsmos, row.language) == (None, None, None, None, "en")


@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}, ["words"]])
@pytest.mark.parametrize("field", ["text", "speaker"])
def test_text_that_is_no_string_is_null(field, value):
    segment = read(entry(**{field: value}))
    assert {"text": segment.text, "speaker": segment.speaker_id}[field] is None
    assert segment.dnsmos == 3.25


@pytest.mark.parametrize(
    "text", ["", " ", "a\x00b", "\n\t", "x" * 100_000, "\ufffd", "🎙 e\u0301 \u202e"], ids=ascii_start
)
def test_text_is_unchanged(text):
    segment = read(entry(text=text, speaker=text))
    assert (segment.text, segment.speaker_id, segment.repaired) == (text, text, False)


NO_NUMBERS: list[Any] = [
    None,
    True,
    False,
    "3.2",
    "",
    [],
    {},
    math.nan,
    math.inf,
    -math.inf,
    10**400,
    -(10**400),
    1e39,
    -1e300,
    math.nextafter(FLOAT32_MAX, math.inf),
]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:12])
def test_a_number_that_float32_can_not_hold_is_null(value):
    assert read(entry(dnsmos=value)).dnsmos is None
    assert read(entry(start=value)).duration is None
    assert read(entry(end=value)).duration is None


@pytest.mark.parametrize("value", [0, -1, 5, 3.21, 1e-45, FLOAT32_MAX, -FLOAT32_MAX, 2**100])
def test_a_number_that_float32_can_hold_is_unchanged(value):
    dnsmos = read(entry(dnsmos=value)).dnsmos
    assert dnsmos == value and type(dnsmos) is float
    struct.pack("<f", dnsmos)


@pytest.mark.parametrize(
    ("start", "end", "duration"),
    [
        (0, 0, 0.0),
        (1, 3, 2.0),
        (0.25, 1.0, 0.75),
        (-1.0, 1.0, 2.0),
        (5.0, 4.999, None),
        (1, -1, None),
        (-FLOAT32_MAX, FLOAT32_MAX, None),
    ],
)
def test_duration_is_end_minus_start_if_not_negative(start, end, duration):
    assert read(entry(start=start, end=end)).duration == duration


def test_a_field_that_is_absent_is_null():
    for field, attribute in (("start", "duration"), ("end", "duration"), ("dnsmos", "dnsmos"), ("text", "text")):
        given = entry()
        del given[field]
        assert getattr(read(given), attribute) is None


@pytest.mark.parametrize("field", ["text", "speaker"])
@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"a\ud800b", "a\ufffdb"),
        (r"\udfff", "\ufffd"),
        (r"\ude00\ud83d", "\ufffd\ufffd"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (r"世\udc00界", "世\ufffd界"),
    ],
)
def test_lone_surrogates_are_repaired_and_counted(field, escaped, text):
    segment = read(entry(**{field: json.loads(f'"{escaped}"')}))
    assert {"text": segment.text, "speaker": segment.speaker_id}[field] == text
    assert segment.repaired


def test_surrogate_pairs_are_characters():
    segment = read(entry(text=json.loads(r'"\ud83d\ude00 ok"')))
    assert (segment.text, segment.repaired) == ("\U0001f600 ok", False)


def test_a_repair_of_the_file_is_counted_where_it_is_visible():
    assert read(entry(text="caf\ufffd"), repaired=True).repaired
    assert not read(entry(text="coffee"), repaired=True).repaired
    assert not read(entry(text=None), repaired=True).repaired
    assert not read(entry(text="caf\ufffd"), repaired=False).repaired


@pytest.mark.parametrize(
    ("own", "language"),
    [
        ("de", "de"),
        ("de-AT", "de"),
        ("DEU", "de"),
        ("iw", "he"),
        ("en", "en"),
        ("klingon", "pt"),
        ("unknown", "pt"),
        ("", "pt"),
        ("\ud800", "pt"),
        (None, "pt"),
        (5, "pt"),
        (["de"], "pt"),
    ],
)
def test_an_unknown_language_is_the_partitions(own, language):
    assert read(entry(language=own), language="pt").language == language


def test_the_last_of_two_equal_keys_is_used():
    segment = read(json.loads('{"text": "first", "text": "last", "extra": {"deep": [1]}}'))
    assert segment.text == "last"
