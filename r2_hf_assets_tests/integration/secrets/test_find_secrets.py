"""The hunt finds what is planted: in files, in names, in databases, in every form."""

import base64
import sqlite3
import urllib.parse

import pytest

from r2_hf_assets_tests.integration.secrets.find_secrets import Hunt, forms

SECRET = "s3cr3t/of+the=house&x"
HUNT = Hunt({"SECRET": SECRET})


@pytest.mark.parametrize("before", ["", "a", "ab", "user:", "a longer text: "])
@pytest.mark.parametrize("after", ["", "!", " and more"])
def test_every_form_is_found(before, after):
    text = before + SECRET + after
    for form in (
        text,
        urllib.parse.quote(text, safe=""),
        urllib.parse.quote_plus(text),
        base64.b64encode(text.encode()).decode(),
        base64.urlsafe_b64encode(text.encode()).decode(),
        text.encode().hex(),
    ):
        assert HUNT.in_text("here", f"...{form}...") == ["here: SECRET"], form


def test_forms_are_long_enough_to_mean_something():
    assert all(len(form) >= len(SECRET) for form in forms(SECRET))
    assert HUNT.in_text("here", "nothing of the kind") == []


@pytest.mark.parametrize(
    "text",
    [
        f"Bearer xet.write.1764000000.{'0a' * 20}",
        f"PUT http://127.0.0.1/_lfs/x?sig={'0a' * 20}",
        "https://bucket.s3.amazonaws.com/k?X-Amz-Credential=AKIA&X-Amz-Signature=0a",
    ],
)
def test_what_a_hub_makes_up_is_found_by_its_shape(text):
    assert HUNT.in_text("here", text) == ["here: a token or signature"]


def test_files_and_names_are_searched(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "log").write_bytes(b"\xff\x00" + SECRET.encode() + b"\x00")
    name = tmp_path / urllib.parse.quote(SECRET, safe="")
    name.touch()
    assert HUNT.in_folder(tmp_path) == ["deep/er/log: SECRET", "the name of a file: SECRET"]
    name.unlink()
    assert HUNT.in_folder(tmp_path, [tmp_path / "deep" / "er" / "log"]) == []


@pytest.mark.parametrize("padding", [0, 4080, 100_000])
def test_rows_are_searched_however_long_and_in_the_log_that_is_not_merged_yet(tmp_path, padding):
    opened = sqlite3.connect(tmp_path / "history.db")
    opened.execute("pragma journal_mode = wal")
    opened.execute("create table events (id integer, body text)")
    opened.execute("insert into events values (1, ?)", ["x" * padding + SECRET + "x" * 5000])
    opened.commit()
    assert "history.db, table events: SECRET" in HUNT.in_folder(tmp_path)
    opened.close()
    assert "history.db, table events: SECRET" in HUNT.in_folder(tmp_path)
