"""Metadata: any bytes are parsed or rejected with a known reason; a valid entry is unchanged."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from r2_hf_assets.bucket.segments import Reject, UnusableMetadata, parse
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets_tests.property.metadata import (
    ENCODINGS,
    FIELDS,
    any_entry,
    any_json,
    check_bytes,
    check_entry,
)

documents = st.builds(
    lambda value, encoding, ascii_: json.dumps(value, ensure_ascii=ascii_).encode(encoding, "surrogatepass"),
    st.lists(any_entry, max_size=4) | any_json,
    st.sampled_from(ENCODINGS),
    st.booleans(),
)
damaged = st.builds(
    lambda data, at, length, bytes_: data[: at % (len(data) + 1)] + bytes_ + data[at % (len(data) + 1) + length :],
    documents,
    st.integers(0, 500),
    st.integers(0, 20),
    st.binary(max_size=8),
)


@given(st.one_of(st.binary(max_size=200), documents, damaged))
@example(b"\xff\xfe")
@example(b"[" * 2_000)
def test_any_bytes_are_entries_or_a_reason(data):
    check_bytes(data)


@given(any_entry)
def test_any_entry_is_a_row_or_a_reject(entry):
    result = check_entry(entry)
    if isinstance(entry, dict):
        assert not isinstance(result, Reject)
        for value, field in ((entry.get("text"), result.text), (entry.get("speaker"), result.speaker_id)):
            assert (field is None) == (not isinstance(value, str))
            if isinstance(value, str):
                assert len(field or "") == len(value)
        assert result.duration is None or {"start", "end"} <= entry.keys()


@given(any_json, st.sampled_from(ENCODINGS))
def test_a_json_list_is_parsed_and_any_other_value_rejected(value, encoding):
    data = json.dumps(value).encode(encoding)
    if isinstance(value, list):
        entries, repaired = parse(data)
        assert json.dumps(entries) == json.dumps(value) and not repaired
    else:
        with pytest.raises(UnusableMetadata, match="metadata_not_a_list"):
            parse(data)


seconds = st.floats(0, 1e6, width=32)
valid_entries = st.fixed_dictionaries(
    {
        "start": seconds,
        "end": seconds,
        "speaker": st.text(max_size=20),
        "text": st.text(),
        "language": st.sampled_from(LANGUAGES[:-1]),
        "dnsmos": st.floats(0, 5, width=32),
        "segment_id": st.integers(0),
    }
)


@given(st.lists(valid_entries, max_size=5), st.sampled_from(ENCODINGS), st.permutations(FIELDS))
def test_valid_entries_are_unchanged(entries, encoding, order):
    written = [{field: entry[field] for field in order} for entry in entries]
    segments = check_bytes(json.dumps(written, ensure_ascii=False).encode(encoding))
    assert len(segments) == len(entries)
    for segment, entry in zip(segments, entries, strict=True):
        assert not isinstance(segment, Reject) and not segment.repaired
        assert (segment.text, segment.speaker_id, segment.language, segment.dnsmos) == tuple(
            entry[field] for field in ("text", "speaker", "language", "dnsmos")
        )
        duration = entry["end"] - entry["start"]
        assert segment.duration == (None if duration < 0 else duration)
