"""Looks for secrets wherever something may have been stored: folders with SQLite databases in them, and texts.

A secret is looked for as it is, URL-encoded and in base64 (wherever in a longer text that was encoded it may have
stood); tokens and signatures that a Hub makes up on the way are looked for by their shape. Databases are read row by
row besides: a long value is stored in pieces.
"""

import base64
import re
import sqlite3
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# The sandbox Hub's Xet tokens and signed URLs, and what signs a real S3's.
MADE_UP = re.compile(rb"xet\.(read|write)\.\d+\.[0-9a-f]{40}|[?&]sig=[0-9a-f]{40}|X-Amz-(Signature|Credential)=\w")
_SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True)
class Hunt:
    """`secrets` by name."""

    secrets: dict[str, str]

    def in_text(self, where: str, text: str | bytes) -> list[str]:
        """What was found, and where, without saying it."""
        data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
        found = [name for name, secret in self.secrets.items() if any(form in data for form in forms(secret))]
        return [f"{where}: {name}" for name in found + ["a token or signature"] * bool(MADE_UP.search(data))]

    def in_folder(self, folder: Path, leave_out: Iterable[Path] = ()) -> list[str]:
        """The same for every file below, its name included."""
        left_out = set(leave_out)
        found: list[str] = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and path not in left_out):
            where = str(path.relative_to(folder))
            data = path.read_bytes()
            found += self.in_text(where, data) + self.in_text("the name of a file", where)
            if data.startswith(_SQLITE):
                for table, value in rows(path):
                    found += self.in_text(f"{where}, table {table}", value)
        return sorted(set(found))


def forms(secret: str) -> set[bytes]:
    """How a secret may be written."""
    raw = secret.encode()
    plain = {secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret)}
    found = {form.encode() for form in plain} | {raw.hex().encode()}
    for shift in range(3):  # what stood before it moves the letters of base64; those it shares with others are cut off
        encoded = base64.b64encode(b"\0" * shift + raw).rstrip(b"=")
        inner = encoded[(8 * shift + 5) // 6 : len(raw + b"\0" * shift) * 8 // 6]
        found |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


def rows(database: Path) -> Iterator[tuple[str, bytes]]:
    """Every value of every table, as bytes."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as opened:
        opened.text_factory = bytes
        tables = [name.decode() for (name,) in opened.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            for row in opened.execute(f'select * from "{table}"'):
                yield from ((table, value if isinstance(value, bytes) else str(value).encode()) for value in row)
