"""Buckets in memory or in a folder, for tests that need no HTTP: obstore's stores with the interface of `Bucket`.

Bytes in flight are not bounded here; `bucket/test_fetch*.py` test the real transfers over HTTP.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import obstore
from obstore.store import LocalStore, MemoryStore

from r2_hf_assets.bucket.client import NOT_FOUND, call_with_retry
from r2_hf_assets.bucket.pages import Page
from r2_hf_assets.bucket.response import Fetched, GetResult, Unusable
from r2_hf_assets.bucket.transfers import Bucket, Transfers
from r2_hf_assets.retry import Retry


def server_time() -> datetime:
    """Return the time by the server's clock; tests replace it."""
    return datetime.now(UTC)


class StoreGets(Transfers):
    """GETs and listings (in one page) from any obstore store."""

    def __init__(self, store: Any, *, workers: int, retry: Retry) -> None:
        self._store, self._retry = store, retry
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="fetch")

    def submit(self, key: str, limit: int) -> Any:
        return self._pool.submit(self._get, key, limit)

    def submit_listing(self, query: str, what: str, *_: Any) -> Any:
        options = {name: values[0] for name, values in parse_qs(query).items()}
        return self._pool.submit(self._list, what, options.get("prefix", ""), "delimiter" in options)

    def take(self, transfer: Any) -> Any:
        return transfer.result()

    def release(self, transfer: Any) -> None:
        pass

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _get(self, key: str, limit: int) -> GetResult:
        try:
            return call_with_retry(self._retry, f"GET {key}", lambda: self._fetched(key, limit))
        except NOT_FOUND:
            return None

    def _fetched(self, key: str, limit: int) -> Fetched | Unusable:
        result = obstore.get(self._store, key)
        size = result.meta["size"]
        if size > limit:
            return Unusable("too_large", f"{size} bytes")
        age = max(server_time() - result.meta["last_modified"], timedelta(0))
        body = bytes(result.bytes())
        return Fetched([body], size, age, etag=hashlib.md5(body).hexdigest())  # as S3's of an object in one part

    def _list(self, what: str, prefix: str, folders: bool) -> Page:
        if folders:
            page = call_with_retry(self._retry, what, lambda: obstore.list_with_delimiter(self._store, prefix or None))
            return Page([f"{path.rstrip('/')}/" for path in page["common_prefixes"]], [])
        listed = call_with_retry(
            self._retry, what, lambda: [item for batch in obstore.list(self._store, prefix) for item in batch]
        )
        return Page([], [item["last_modified"] for item in listed], served=server_time())


class StoreBucket(Bucket):
    """A bucket that is read from a store."""

    def __init__(self, store: Any = None, **_: Any) -> None:
        self._store = store

    def open_transfers(self, *, workers: int, max_bytes: int, retry: Retry) -> Transfers:
        return StoreGets(self._store, workers=workers, retry=retry)


class MemoryBucket(MemoryStore, StoreBucket):
    """A bucket in memory."""

    def __init__(self) -> None:
        StoreBucket.__init__(self, self)


class FolderBucket(LocalStore, StoreBucket):
    """A bucket in a folder."""

    def __init__(self, folder: Path, mkdir: bool = False) -> None:
        StoreBucket.__init__(self, self)
