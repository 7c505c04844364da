"""Work in threads that hold up neither Ctrl-C nor the interpreter's exit.

A ThreadPoolExecutor waits for its threads at the end of its block and once more at exit, which is minutes when a server
is silent. These threads are daemons, and nobody waits for them: what they do must bear being left undone.
"""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """Up to `threads` threads, started as they are needed. Call `close` at the end."""

    def __init__(self, threads: int, name: str) -> None:
        self._most, self._name = threads, name
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._started, self._lock = 0, threading.Lock()
        self._closed = False

    def submit(self, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Call a function in one of the threads, in the order of submission. From any thread."""
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
            if self._started < self._most:
                self._started += 1
                threading.Thread(target=self._run, name=f"{self._name}_{self._started}", daemon=True).start()
        return future

    def close(self) -> None:
        """Begin nothing new. What is under way is left alone, and its results have nowhere to go."""
        self._closed = True
        for _ in range(self._started):
            self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None and not self._closed:
            work()


def in_background(function: Callable[[], T]) -> T:
    """Call a function that can't be interrupted, so that waiting for it can be."""
    with contextlib.closing(Background(1, "background")) as thread:
        return thread.submit(function).result()
