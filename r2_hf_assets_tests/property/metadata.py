"""Invariants of the metadata parser for any bytes, and strategies for unusual JSON."""

import struct
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from r2_hf_assets.bucket.segments import Reject, Segment, UnusableMetadata, parse, to_segment
from r2_hf_assets.languages import LANGUAGES

REASONS = {"metadata_empty", "metadata_not_json", "metadata_not_a_list"}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
FIELDS = ("start", "end", "speaker", "text", "language", "dnsmos", "segment_id")

# With lone surrogates.
any_text = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=20),
    st.text(st.sampled_from("\ud83d\ude00\ud800\ufffd\x00 a"), max_size=8),
)
numbers = st.one_of(st.integers(), st.floats(), st.integers(-(10**400), 10**400), st.floats(width=32))
scalars = st.one_of(st.none(), st.booleans(), numbers, any_text)
any_json = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=8,
)
any_entry = st.one_of(
    any_json,
    st.dictionaries(st.sampled_from(FIELDS), any_json, max_size=7),
    st.fixed_dictionaries(
        dict.fromkeys(("text", "speaker", "language"), any_text) | dict.fromkeys(FIELDS[:2], numbers)
    ),
)


def check_bytes(data: bytes) -> Sequence[Segment | Reject]:
    """Read metadata as a build does, and assert the invariants."""
    try:
        entries, repaired = parse(data)
    except UnusableMetadata as error:
        assert error.reason in REASONS
        assert len(error.detail) <= 200 and "\n" not in error.detail.replace("\\n", "")
        return []
    assert isinstance(entries, list)
    return [check_entry(entry, repaired=repaired) for entry in entries]


def check_entry(entry: Any, *, repaired: bool = False) -> Segment | Reject:
    result = to_segment(
        entry, episode="en/ep", number=5, key="the key", language="pt", settling=False, repaired=repaired
    )
    assert (result.key, result.episode, result.number) == ("the key", "en/ep", 5)
    if isinstance(result, Reject):
        assert not isinstance(entry, dict)
        assert (result.reason, result.segment) == ("entry_not_an_object", None)
        return result
    for text in (result.text, result.speaker_id):
        assert text is None or text.encode("utf-8").decode("utf-8") == text
    assert result.language in LANGUAGES
    for number in (result.start, result.end, result.duration, result.dnsmos):
        assert number is None or (type(number) is float and struct.pack("<f", number))
    if result.duration is not None:
        assert result.start is not None and result.end is not None
        assert result.duration == result.end - result.start >= 0
    return result
