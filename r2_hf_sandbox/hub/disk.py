"""What every part of the local Hub shares: whole writes, the Hub's refusals, hashes and dates.

A write is whole or it is not there: a temporary name, then a rename. So a Hub that is killed at any moment comes back
with everything it has acknowledged, and with nothing half written. It does not wait for the disk: a machine that loses
power may take a sandbox with it.
"""

import hashlib
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path


class HubRefusal(Exception):
    """An answer other than 2xx, as the real Hub gives it: status, message, and the code its client looks for."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


def write_whole(path: Path, content: bytes) -> None:
    temporary = temporary_beside(path)
    temporary.write_bytes(content)
    publish(temporary, path)


def temporary_beside(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".tmp-{secrets.token_hex(8)}")


def publish(temporary: Path, path: Path) -> None:
    """Give a written temporary file its name."""
    os.replace(temporary, path)


def git_blob_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    """The text that git keeps in place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
