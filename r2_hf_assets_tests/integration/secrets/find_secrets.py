"""Search for secrets in texts and in folders, SQLite databases included.

A secret is searched for as it is, URL-encoded, in hex and in base64 (at any offset in the encoded text). Tokens and
signatures that a Hub generates are matched by their format. Databases are also read row by row, since a long value is
stored in pieces.
"""

import base64
import re
import sqlite3
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# The sandbox Hub's Xet tokens and signed URLs, and what signs a real S3's.
GENERATED = re.compile(rb"xet\.(read|write)\.\d+\.[0-9a-f]{40}|[?&]sig=[0-9a-f]{40}|X-Amz-(Signature|Credential)=\w")
_SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True)
class SecretSearch:
    """`secrets` by name."""

    secrets: dict[str, str]

    def in_text(self, where: str, text: str | bytes) -> list[str]:
        """Return the place and the name of each secret in a text, not the secret."""
        data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
        names = [name for name, secret in self.secrets.items() if any(form in data for form in forms(secret))]
        return [f"{where}: {name}" for name in names + ["a token or signature"] * bool(GENERATED.search(data))]

    def in_folder(self, folder: Path, leave_out: Iterable[Path] = ()) -> list[str]:
        """Return the same for every file below a folder, file names included."""
        left_out = set(leave_out)
        places: list[str] = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and path not in left_out):
            where = str(path.relative_to(folder))
            data = path.read_bytes()
            places += self.in_text(where, data) + self.in_text("the name of a file", where)
            if data.startswith(_SQLITE):
                for table, value in rows(path):
                    places += self.in_text(f"{where}, table {table}", value)
        return sorted(set(places))


def forms(secret: str) -> set[bytes]:
    """Return the encodings of a secret."""
    raw = secret.encode()
    plain = {secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret)}
    encoded_forms = {form.encode() for form in plain} | {raw.hex().encode()}
    for shift in range(3):  # bytes before it shift the base64 letters; letters shared with neighbours are cut off
        encoded = base64.b64encode(b"\0" * shift + raw).rstrip(b"=")
        inner = encoded[(8 * shift + 5) // 6 : len(raw + b"\0" * shift) * 8 // 6]
        encoded_forms |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return encoded_forms


def rows(database: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the table and the bytes of every value."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as opened:
        opened.text_factory = bytes
        tables = [name.decode() for (name,) in opened.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            for row in opened.execute(f'select * from "{table}"'):
                yield from ((table, value if isinstance(value, bytes) else str(value).encode()) for value in row)
