"""A thread pool that delays neither Ctrl-C nor the interpreter's exit.

A ThreadPoolExecutor joins its threads at the end of its block and at exit, which takes minutes when a server does not
respond. These threads are daemons and never joined, so their work may be left unfinished.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from itertools import islice
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Background:
    """Up to `threads` threads, started as they are needed. Call `close` at the end."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads, self._name = threads, name
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._started, self._lock = 0, threading.Lock()
        self._closed = False

    def submit(self, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Call a function in one of the threads, in the order of submission."""
        future: Future[T] = Future()

        def work() -> None:
            try:
                result = function(*arguments)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._work.put(work)
        with self._lock:
            if self._started < self._threads:
                self._started += 1
                threading.Thread(target=self._run, name=f"{self._name}_{self._started}", daemon=True).start()
        return future

    def close(self) -> None:
        """Start no more functions; those that run continue, and their results are dropped."""
        self._closed = True
        for _ in range(self._started):
            self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None and not self._closed:
            work()


def map_in_order(function: Callable[[T], R], items: Iterable[T], threads: int, name: str) -> Generator[R, None, None]:
    """Yield the results in the items' order, called in `threads` threads up to twice as many items ahead."""
    unread = iter(items)
    with contextlib.closing(Background(threads, name)) as pool:
        pending = deque(pool.submit(function, item) for item in islice(unread, 2 * threads))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(function, item) for item in islice(unread, 1))
            yield result


def in_background(function: Callable[[], T]) -> T:
    """Call an uninterruptible function in a thread, so that Ctrl-C interrupts the wait for it."""
    with contextlib.closing(Background(1, "background")) as thread:
        return thread.submit(function).result()
