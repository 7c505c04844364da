"""How the text of an environment variable becomes a value: one function a kind, ValueError with what is wrong.

The message goes behind the variable's name: "must be 1 or 0".
"""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from r2_hf_assets.languages import LANGUAGES, UNKNOWN, normalize


def count(value: str) -> int:
    if not re.fullmatch(r"\d{1,15}", value) or int(value) < 1:
        raise ValueError("must be a whole number, 1 or more")
    return int(value)


def at_most(limit: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        number = count(value)
        if number > limit:
            raise ValueError(f"must be at most {limit}")
        return number

    return parse


def amount(value: str) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        raise ValueError("must be a number, 0 or more")
    return float(value)


def flag(value: str) -> bool:
    lowered = value.lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise ValueError("must be 1 or 0")


def http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http(s) URL")
    return value.rstrip("/")


def endpoint(value: str) -> str:
    if not re.fullmatch(r"https?://[A-Za-z0-9.:_\[\]-]+/?", value):
        raise ValueError("must be https://host[:port] alone (bucket and keys have variables of their own)")
    return http_url(value)


def bucket(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,255}", value) or not value.strip("."):
        raise ValueError("must be a bucket's name alone, without a path")
    return value


def region(value: str) -> str:
    if not re.fullmatch(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)", value):
        raise ValueError("must be the name of a region, e.g. auto or eu-central-1")
    return value


def token(value: str) -> str:
    if not re.fullmatch(r"[!-~]*", value):  # it becomes a header of every request
        raise ValueError("must be printable ASCII without spaces")
    return value


def prefix(value: str) -> str:
    trimmed = value.strip("/")
    return f"{trimmed}/" if trimmed else ""


def line(value: str) -> str:
    return " ".join(value.split())


def license(value: str) -> str:
    if value and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", value):
        raise ValueError("must be one of the Hub's names, e.g. cc-by-4.0")
    return value


def repo_id(value: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", value):
        raise ValueError("must look like owner/name")
    return value


def languages(value: str) -> tuple[str, ...]:
    wanted = set()
    for tag in filter(None, (part.strip() for part in value.split(","))):
        language = normalize(tag)
        if language == UNKNOWN and tag != UNKNOWN:
            raise ValueError(f"{tag!r} is no language this project knows")
        wanted.add(language)
    return tuple(language for language in LANGUAGES if not wanted or language in wanted)


def store_url(value: str) -> str:
    scheme = urlsplit(value).scheme
    if scheme == "s3" and not urlsplit(value).netloc:
        raise ValueError("must be s3://bucket/prefix")
    if scheme not in ("", "s3"):
        raise ValueError("must be a folder or s3://bucket/prefix")
    return value
