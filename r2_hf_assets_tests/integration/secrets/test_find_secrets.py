"""The search finds planted secrets in files, names and databases, in every encoding."""

import base64
import sqlite3
import urllib.parse

import pytest

from r2_hf_assets_tests.integration.secrets.find_secrets import SecretSearch, forms

SECRET = "s3cr3t/of+the=house&x"
SEARCH = SecretSearch({"SECRET": SECRET})


@pytest.mark.parametrize("before", ["", "a", "ab", "user:", "a longer text: "])
@pytest.mark.parametrize("after", ["", "!", " and more"])
def test_every_encoding_is_found(before, after):
    text = before + SECRET + after
    for form in (
        text,
        urllib.parse.quote(text, safe=""),
        urllib.parse.quote_plus(text),
        base64.b64encode(text.encode()).decode(),
        base64.urlsafe_b64encode(text.encode()).decode(),
        text.encode().hex(),
    ):
        assert SEARCH.in_text("here", f"...{form}...") == ["here: SECRET"], form


def test_encodings_are_too_long_for_a_chance_match():
    assert all(len(form) >= len(SECRET) for form in forms(SECRET))
    assert SEARCH.in_text("here", "nothing of the kind") == []


@pytest.mark.parametrize(
    "text",
    [
        f"Bearer xet.write.1764000000.{'0a' * 20}",
        f"PUT http://127.0.0.1/_lfs/x?sig={'0a' * 20}",
        "https://bucket.s3.amazonaws.com/k?X-Amz-Credential=AKIA&X-Amz-Signature=0a",
    ],
)
def test_a_generated_token_is_matched_by_its_format(text):
    assert SEARCH.in_text("here", text) == ["here: a token or signature"]


def test_files_and_names_are_searched(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "log").write_bytes(b"\xff\x00" + SECRET.encode() + b"\x00")
    name = tmp_path / urllib.parse.quote(SECRET, safe="")
    name.touch()
    assert SEARCH.in_folder(tmp_path) == ["deep/er/log: SECRET", "the name of a file: SECRET"]
    name.unlink()
    assert SEARCH.in_folder(tmp_path, [tmp_path / "deep" / "er" / "log"]) == []


@pytest.mark.parametrize("padding", [0, 4080, 100_000])
def test_long_rows_are_found_also_before_a_checkpoint(tmp_path, padding):
    opened = sqlite3.connect(tmp_path / "history.db")
    opened.execute("pragma journal_mode = wal")
    opened.execute("create table events (id integer, body text)")
    opened.execute("insert into events values (1, ?)", ["x" * padding + SECRET + "x" * 5000])
    opened.commit()
    assert "history.db, table events: SECRET" in SEARCH.in_folder(tmp_path)
    opened.close()
    assert "history.db, table events: SECRET" in SEARCH.in_folder(tmp_path)
