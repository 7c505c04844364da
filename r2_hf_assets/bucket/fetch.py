"""Ordered, concurrent GETs with back-pressure: many requests in flight, results in the order they were asked for.

Worker threads call obstore (which releases the GIL); the caller's thread takes results in order and never waits for a
later object before an earlier one. Look-ahead is bounded twice: `window` requests, and `max_bytes` of bodies that
have arrived and were not yet taken. A worker learns a body's size from the answer's head and waits for room before it
reads on, except when its object is the next one to be taken: so one huge object passes alone, later ones wait, and
nothing can deadlock.
"""

import heapq
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import obstore

from r2_hf_assets.bucket.client import MAX_KEY_BYTES, NOT_FOUND, ShortBody, Store, ask
from r2_hf_assets.retry import Retry

T = TypeVar("T")
Body = Any  # obstore.Bytes: a buffer, not importable as a type


@dataclass(frozen=True, slots=True)
class Fetched:
    """An object's body and when it was last written."""

    body: Body
    size: int
    last_modified: datetime


class Room:
    """Counts bytes that have arrived and were not yet taken, and makes workers wait when there are too many.

    Waiters are let in by turn and one by one: waking all of them at every change would cost more than the requests.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._used = 0
        self._head = 0
        self._lock = threading.Lock()
        self._waiting: list[tuple[int, int, threading.Event]] = []  # a heap by turn
        self.closed = False

    def enter(self, turn: int, size: int) -> None:
        """Wait until `size` bytes have room, or until it is this turn's turn. Raises Cancelled after `close`."""
        with self._lock:
            if self.closed:
                raise Cancelled
            if not self._waiting and self._fits(turn, size):
                self._used += size
                return
            let_in = threading.Event()
            heapq.heappush(self._waiting, (turn, size, let_in))
            self._let_in()
        let_in.wait()
        if self.closed:
            raise Cancelled

    def leave(self, size: int) -> None:
        """The head's bytes are taken; the next turn becomes the head."""
        with self._lock:
            self._used -= size
            self._head += 1
            self._let_in()

    def close(self) -> None:
        with self._lock:
            self.closed = True
            for _, _, let_in in self._waiting:
                let_in.set()

    def _fits(self, turn: int, size: int) -> bool:
        return turn <= self._head or self._used + size <= self._max

    def _let_in(self) -> None:
        while self._waiting:
            turn, size, let_in = self._waiting[0]
            if not self._fits(turn, size):
                return
            heapq.heappop(self._waiting)
            self._used += size
            let_in.set()


class Cancelled(Exception):
    """The consumer is gone; the result has nowhere to go."""


def get(
    store: Store,
    key: str,
    retry: Retry,
    room: Callable[[int], None] | None = None,
    gone: Callable[[], bool] = lambda: False,
) -> Fetched | None:
    """GET one object, retrying passing trouble. None when there is no such object.

    Args:
        room: called once with the body's size before the body is read.
        gone: whether nobody wants the object any more; then it is not asked for again.

    Raises:
        Cancelled: nobody wants the object any more.
        GaveUp: passing trouble outlasted the retries.
        AccessError: the credentials were refused.
    """
    granted = False

    def once() -> Fetched:
        nonlocal granted
        if gone():
            raise Cancelled
        answer = obstore.get(store, key)
        meta = answer.meta
        if room is not None and not granted:
            room(meta["size"])
            granted = True
        body = answer.bytes()
        if len(body) != meta["size"]:
            raise ShortBody(f"{len(body)} of {meta['size']} bytes")
        return Fetched(body, meta["size"], meta["last_modified"])

    if len(key.encode()) > MAX_KEY_BYTES:
        return None  # S3 has no such key, and answers 400 to the question
    try:
        return ask(retry, f"GET {key}", once)
    except NOT_FOUND:
        return None


def fetch_in_order(
    items: Iterable[T],
    key: Callable[[T], str | None],
    store: Store,
    *,
    workers: int,
    max_bytes: int,
    retry: Retry,
    window: int | None = None,
) -> Generator[tuple[T, Fetched | None], None, None]:
    """Fetch `key(item)` for every item, `workers` at a time, and yield in the items' order.

    Args:
        items: read lazily, `window` ahead (16 x workers by default: enough to fetch on while a row group is written).
        key: None for an item that needs no fetch; it is passed through in its place.
        max_bytes: bodies held at once, besides the one being taken.

    Yields:
        The item with its object; None when it has no key or no object exists.
    """
    window = window or 16 * workers
    room = Room(max_bytes)
    pending: deque[tuple[T, Future[Fetched | None] | None]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="fetch")

    def work(name: str, turn: int) -> Fetched | None:
        return get(store, name, retry, lambda size: room.enter(turn, size), lambda: room.closed)

    def drain(keep: int) -> Iterator[tuple[T, Fetched | None]]:
        while len(pending) > keep:
            item, future = pending.popleft()
            fetched = future.result() if future else None
            yield item, fetched
            if future:
                room.leave(fetched.size if fetched else 0)

    try:
        turn = 0
        for item in items:
            name = key(item)
            pending.append((item, None if name is None else pool.submit(work, name, turn)))
            turn += name is not None
            yield from drain(window - 1)
        yield from drain(0)
    finally:
        room.close()
        pool.shutdown(wait=True, cancel_futures=True)
