"""Ordered, concurrent GETs with back-pressure: many requests in flight, results in the order they were asked for.

Look-ahead is bounded twice: `window` requests, and `max_bytes` of bodies that have arrived and were not yet taken. One
slow object holds back nothing but the taking of those behind it, and one huge object passes alone.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

from r2_hf_assets.bucket.client import Store, can_exist
from r2_hf_assets.bucket.judge import Found
from r2_hf_assets.bucket.transfer import Transfer
from r2_hf_assets.bucket.transfers import Transfers
from r2_hf_assets.retry import Retry

T = TypeVar("T")


def fetch_in_order(
    items: Iterable[T],
    key: Callable[[T], str | None],
    store: Store,
    *,
    workers: int,
    max_bytes: int,
    limit: int,
    retry: Retry,
    window: int | None = None,
) -> Generator[tuple[T, Found], None, None]:
    """Fetch `key(item)` for every item, `workers` at a time, and yield in the items' order.

    Args:
        items: read lazily, `window` ahead (16 x workers by default: enough to fetch on while a row group is written).
        key: None for an item that needs no fetch; it is passed through in its place.
        max_bytes: bodies held at once, besides the one being taken.
        limit: bytes of one object; a larger one is not read.

    Yields:
        The item with its object; None when it has no key or no object exists, Unusable when the object is too large or
        is not what its Content-Encoding says.

    Raises:
        GaveUp: passing trouble outlasted the retries.
        AccessError: the credentials were refused.
    """
    window = window or 16 * workers
    pending: deque[tuple[T, Transfer | None]] = deque()
    transfers = Transfers(store, workers=workers, max_bytes=max_bytes, retry=retry)

    def drain(keep: int) -> Iterator[tuple[T, Found]]:
        while len(pending) > keep:
            item, transfer = pending.popleft()
            yield item, transfers.take(transfer) if transfer else None
            if transfer:
                transfers.leave(transfer)

    try:
        for item in items:
            name = key(item)
            pending.append((item, transfers.ask(name, limit) if name is not None and can_exist(name) else None))
            yield from drain(window - 1)
        yield from drain(0)
    finally:
        transfers.close()
        pending.clear()  # or whoever holds an error holds its traceback, this frame, and the bodies
