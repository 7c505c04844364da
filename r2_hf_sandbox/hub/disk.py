"""Atomic writes, error responses, hashes and dates of the local Hub.

A write goes to a temporary name and is renamed, so a killed Hub restarts with all acknowledged writes and no partial
one. There is no fsync: a power failure may lose data.
"""

import hashlib
import os
import secrets
from datetime import datetime
from pathlib import Path


class HubRefusal(Exception):
    """An error response: status, message, and the real Hub's error code."""

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
    os.replace(temporary, path)


def git_blob_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
