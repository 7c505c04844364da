"""all_segments.json as bytes: every hostile file is parsed, or rejected with the ledger's reason."""

import json
import math

import pytest

from r2_hf_assets.bucket.segments import UnusableMetadata, parse

ENTRIES = [{"text": "Grüße, 世界 🎙", "start": 0.5, "end": 2}]
TEXT = json.dumps(ENTRIES, ensure_ascii=False)


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        json.dumps(ENTRIES).encode(),
        f"\n\t {TEXT} \r\n".encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        TEXT.encode("utf-32-le"),
    ],
    ids=["utf8", "escaped", "spaces", "bom", "utf16-bom", "utf16-le", "utf16-be", "utf32-bom", "utf32-le"],
)
def test_every_encoding_of_json_is_parsed(data):
    assert parse(data) == (ENTRIES, False)


@pytest.mark.parametrize("data", [b"", b" ", b"\n\r\t  \n"])
def test_an_empty_file_is_rejected_as_empty(data):
    with pytest.raises(UnusableMetadata) as caught:
        parse(data)
    assert (caught.value.reason, caught.value.detail) == ("metadata_empty", f"{len(data)} bytes")


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode()[:-1],
        TEXT.encode()[: len(TEXT) // 2],
        TEXT.encode("utf-16-le")[:-1],
        b"[",
        b"[{]",
        b"[1,]",
        b"[1] [2]",
        b"not json",
        b"<html><body>503</body></html>",
        b"{'text': 1}",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xff\xfe\x00\x00",
        b"\x00",
        b"\x00" * 64,
        b"\xff" * 64,
        b"\x89PNG\r\n\x1a\n",
        b"ID3\x04\x00\x00" + b"\xff\xfb\x90" * 20,
        b"[" * 200_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b"[" + b"9" * 5_000 + b"]",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_invalid_json_is_rejected_with_a_short_detail(data):
    with pytest.raises(UnusableMetadata) as caught:
        parse(data)
    assert caught.value.reason == "metadata_not_json"
    assert caught.value.detail.startswith(f"{len(data)} bytes; ") and len(caught.value.detail) <= 200


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"{}", "dict"),
        (b'{"segments": []}', "dict"),
        (b"null", "NoneType"),
        (b"true", "bool"),
        (b"1", "int"),
        (b"1.5", "float"),
        (b"NaN", "float"),
        (b'"[]"', "str"),
    ],
)
def test_json_that_is_no_list_is_rejected(data, kind):
    with pytest.raises(UnusableMetadata) as caught:
        parse(data)
    assert (caught.value.reason, caught.value.detail) == ("metadata_not_a_list", f"a JSON {kind}")


def test_an_empty_list_is_parsed():
    assert parse(b"[]") == ([], False)


def test_entries_are_returned_unchanged_and_in_order():
    assert parse(b'[1, null, "x", {"a": [2]}, [], true]')[0] == [1, None, "x", {"a": [2]}, [], True]


def test_numbers_outside_json_are_parsed():
    (nan, plus, minus, huge), _ = parse(b"[NaN, Infinity, -Infinity, 1e999]")
    assert math.isnan(nan) and (plus, minus, huge) == (math.inf, -math.inf, math.inf)


def test_a_large_integer_is_parsed():
    assert parse(b"[" + b"9" * 400 + b"]")[0] == [int("9" * 400)]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"caf\xe9", "caf\ufffd"),
        (b"\xff\xfe mid", "\ufffd\ufffd mid"),
        (b"cut \xe4\xb8", "cut \ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
    ],
    ids=["latin1", "bytes", "cut", "surrogate"],
)
def test_invalid_utf8_is_repaired_and_reported(raw, text):
    assert parse(b'[{"text": "' + raw + b'"}]') == ([{"text": text}], True)


def test_a_replacement_character_in_the_file_is_no_repair():
    assert parse('[{"text": "\ufffd"}]'.encode()) == ([{"text": "\ufffd"}], False)


def test_invalid_utf16_is_repaired_and_reported():
    data = '[{"text": "ab"}]'.encode("utf-16-le").replace("b".encode("utf-16-le"), b"\x00\xd8")
    assert parse(data) == ([{"text": "a\ufffd"}], True)
