"""The fakes of `Transfers` and `pages` where a test's bucket is a MemoryStore or a LocalStore: by obstore.

Bytes in flight are not bounded here; `bucket/test_fetch*.py` test the real one, over HTTP.
"""

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import obstore
from obstore.store import S3Store

from r2_hf_assets.bucket.client import NOT_FOUND, ask
from r2_hf_assets.bucket.pages import Page
from r2_hf_assets.bucket.pages import pages as real_pages
from r2_hf_assets.bucket.response import Fetched, Found, Unusable
from r2_hf_assets.bucket.transfers import Transfers
from r2_hf_assets.retry import Retry


def server_time() -> datetime:
    """The clock of the server that such a store would be."""
    return datetime.now(UTC)


class StoreGets:
    """GETs from any store of obstore's."""

    def __init__(self, store: Any, *, workers: int, max_bytes: int, retry: Retry) -> None:
        self._store, self._retry = store, retry
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="fetch")

    def submit(self, key: str, limit: int) -> Future[Found]:
        return self._pool.submit(self._get, key, limit)

    def take(self, asked: Future[Found]) -> Found:
        return asked.result()

    def release(self, asked: Future[Found]) -> None:
        pass

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _get(self, key: str, limit: int) -> Found:
        try:
            return ask(self._retry, f"GET {key}", lambda: self._fetched(key, limit))
        except NOT_FOUND:
            return None

    def _fetched(self, key: str, limit: int) -> Fetched | Unusable:
        answer = obstore.get(self._store, key)
        size = answer.meta["size"]
        if size > limit:
            return Unusable("too_large", f"{size} bytes")
        age = max(server_time() - answer.meta["last_modified"], timedelta(0))
        return Fetched([bytes(answer.bytes())], size, age)


def gets(store: Any, **options: Any) -> Any:
    """What fetches from `store`: the real thing from a bucket, the fake from anything else."""
    return Transfers(store, **options) if isinstance(store, S3Store) else StoreGets(store, **options)


def pages(store: Any, prefix: str, retry: Retry, delimiter: str = "", **where: Any) -> Generator[Page, None, None]:
    """A listing in one page."""
    if isinstance(store, S3Store):
        yield from real_pages(store, prefix, retry, delimiter, **where)
        return
    what = f"listing {prefix or 'the bucket'}"
    if delimiter:
        found = ask(retry, what, lambda: obstore.list_with_delimiter(store, prefix or None))
        yield Page([f"{path.rstrip('/')}/" for path in found["common_prefixes"]], [])
    else:
        listed = ask(retry, what, lambda: [item for batch in obstore.list(store, prefix) for item in batch])
        yield Page([], [item["last_modified"] for item in listed], served=server_time())
