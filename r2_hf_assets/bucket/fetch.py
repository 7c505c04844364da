"""Fetch objects, or their headers, concurrently, in order, with back-pressure.

Prefetch is bounded twice: by a window of requests, and by `max_bytes` of bodies that have arrived and were not yet
taken. A slow object delays the results behind it, not their requests. An object larger than the budget passes alone.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from itertools import islice
from typing import Any, TypeVar

from r2_hf_assets.bucket.response import GetResult, Head
from r2_hf_assets.bucket.transfers import Bucket, Transfer, Transfers
from r2_hf_assets.retry import Retry

T = TypeVar("T")

_WINDOW = 16  # requests for each worker: enough to fetch while a row group is written
_MAX_KEY_BYTES = 1024  # S3's limit, and R2's: a longer key is an HTTP 400, which would fail the run


def fetch_in_order(
    items: Iterable[T],
    key: Callable[[T], str | None],
    bucket: Bucket,
    *,
    workers: int,
    max_bytes: int,
    limit: int,
    retry: Retry,
) -> Generator[tuple[T, GetResult], None, None]:
    """Fetch `key(item)` for every item, `workers` at a time, and yield in the items' order.

    Yields each item with its object; None when it has no key, or the object does not exist. `items` are read lazily,
    within the window. An object larger than `limit` is not read.
    """
    transfers = bucket.open_transfers(workers=workers, max_bytes=max_bytes, retry=retry)
    yield from _take_in_order(items, key, lambda name: transfers.submit(name, limit), transfers, workers)


def head_in_order(
    items: Iterable[T],
    key: Callable[[T], str | None],
    bucket: Bucket,
    *,
    workers: int,
    retry: Retry,
) -> Generator[tuple[T, Head | None], None, None]:
    """Request the headers of `key(item)` for every item, as `fetch_in_order` does the objects.

    Yields each item with its object's headers; None when it has no key, or the HEAD's status is 404.
    """
    transfers = bucket.open_transfers(workers=workers, max_bytes=0, retry=retry)
    yield from _take_in_order(items, key, transfers.submit_head, transfers, workers)


def _take_in_order(
    items: Iterable[T],
    key: Callable[[T], str | None],
    submit: Callable[[str], Transfer],
    transfers: Transfers,
    workers: int,
) -> Generator[tuple[T, Any], None, None]:
    """Yield the items with their results, and close `transfers` at the end."""
    pending: deque[tuple[T, Transfer | None]] = deque()
    unread = iter(items)

    def submit_next(count: int) -> None:
        for item in islice(unread, count):
            name = key(item)
            can_exist = name is not None and len(name.encode()) <= _MAX_KEY_BYTES
            pending.append((item, submit(name) if name is not None and can_exist else None))

    try:
        submit_next(_WINDOW * workers)
        while pending:
            item, transfer = pending.popleft()
            yield item, transfers.take(transfer) if transfer else None
            if transfer:
                transfers.release(transfer)
            submit_next(1)
    finally:
        transfers.close()
        pending.clear()  # an error's traceback keeps this frame alive, and the bodies with it
