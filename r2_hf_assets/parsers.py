"""Parsers of environment variables: from a text to a checked value.

A parser raises ValueError with a text that is shown after the variable's name: `DOWNLOAD_WORKERS='many' must be ...`.
"""

import re
from collections.abc import Callable
from typing import TypeVar

from r2_hf_assets.languages import LANGUAGES, UNKNOWN, normalize

T = TypeVar("T")

# Arrow's `binary` column has 32-bit offsets, so one row group's audio must stay below 2 GiB.
MAX_ROWGROUP_BYTES = 2**31 - 2**20


def _matching(pattern: str, problem: str, convert: Callable[[str], T]) -> Callable[[str], T]:
    """Return a parser of texts that match `pattern`."""

    def parse(value: str) -> T:
        if not re.fullmatch(pattern, value):
            raise ValueError(problem)
        return convert(value)

    return parse


_ORIGIN = r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?"
endpoint = _matching(f"{_ORIGIN}/?", "must be https://host[:port], without bucket or key", lambda url: url.rstrip("/"))
http_url = _matching(rf"{_ORIGIN}(/\S*)?", "must be an http(s) URL", lambda url: url.rstrip("/"))
count = _matching(r"0*[1-9]\d{0,14}", "must be a whole number, 1 or more", int)
amount = _matching(r"\d{1,9}(\.\d+)?", "must be a number, 0 or more", float)
flag = _matching(
    r"(?i:1|true|yes|on|0|false|no|off)", "must be 1 or 0", lambda value: value.lower() in ("1", "true", "yes", "on")
)
bucket = _matching(r"(?!\.+$)[A-Za-z0-9._-]{1,255}", "must be a bucket's name alone, without a path", str)
region = _matching(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)", "must be the name of a region, e.g. auto or eu-central-1", str)
# A header of every request.
token = _matching(r"[!-~]*", "must be printable ASCII without spaces", str)
license = _matching(r"([a-z0-9][a-z0-9.-]*)?", "must be one of the Hub's names, e.g. cc-by-4.0", str)
repo_id = _matching(r"[\w.-]+/[\w.-]+", "must look like owner/name", str)
_USERINFO = r"[^\s@/?#\[\]]+"  # others end a URL's host, or are refused there
smtp_url = _matching(
    rf"(smtps?://({_USERINFO}:{_USERINFO}@)?[\w.-]+(:\d{{1,5}})?/?)?",
    "must be smtp[s]://[user:password@]host[:port]; in user and password %40 is @, %2F /, %3F ?, %23 #",
    str,
)
_ADDRESS = r"[^\s,@<>]+@[^\s,@<>]+"
mail = _matching(rf"({_ADDRESS})?", "must be a mail address", str)
mails = _matching(
    rf"({_ADDRESS}(\s*,\s*{_ADDRESS})*)?",
    "must be mail addresses, separated by commas",
    lambda text: tuple(re.findall(_ADDRESS, text)),
)
store_url = _matching(r"s3://[^/]+(/.*)?|(?![A-Za-z][\w+.-]*:).*", "must be a folder or s3://bucket/prefix", str)


def rowgroup_bytes(value: str) -> int:
    if count(value) > MAX_ROWGROUP_BYTES:
        raise ValueError(f"must be at most {MAX_ROWGROUP_BYTES}")
    return count(value)


def prefix(value: str) -> str:
    return f"{value.strip('/')}/".lstrip("/")


def parse_languages(value: str) -> tuple[str, ...]:
    """Return the named languages in the order of LANGUAGES; all of them for none."""
    tags = [tag for part in value.split(",") if (tag := part.strip())]
    for tag in tags:
        if normalize(tag) == UNKNOWN != tag:
            raise ValueError(f"{tag!r} is no known language")
    wanted = {normalize(tag) for tag in tags} or set(LANGUAGES)
    return tuple(language for language in LANGUAGES if language in wanted)
