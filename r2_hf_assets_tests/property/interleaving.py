"""Threads whose steps interleave in an order that is drawn beforehand, so that every run is reproducible.

A step is a call to shared state, a store or a repo. One step runs at a time, in the drawn order. Steps of a worker that
has ended are skipped; after the end of the order, steps run as they come.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

_TIMEOUT_S = 60


class Killed(Exception):
    """Raised in the step in which a worker dies."""


class Interleaving:
    """`order` is the worker (0, 1, ...) of each step; `dies_at` the number of a worker's steps before it dies."""

    def __init__(self, order: Sequence[int], workers: int, dies_at: dict[int, int] | None = None) -> None:
        self._order = deque(order)
        self._running = set(range(workers))
        self._dies_at = dies_at or {}
        self._steps = [0] * workers
        self._changed = threading.Condition()

    @contextmanager
    def step(self, worker: int) -> Iterator[None]:
        with self._changed:
            if not self._changed.wait_for(lambda: self._next() in (worker, None), _TIMEOUT_S):
                raise TimeoutError(f"no step of worker {worker} was scheduled")
            if self._order:
                self._order.popleft()
            self._changed.notify_all()
            self._steps[worker] += 1
            if self._steps[worker] > self._dies_at.get(worker, 10**9):
                raise Killed
            yield

    def _next(self) -> int | None:
        while self._order and self._order[0] not in self._running:
            self._order.popleft()
        return self._order[0] if self._order else None

    def run(self, *functions: Callable[[], Any]) -> list[Any]:
        """Run each function in a worker. Return the results, or the exceptions raised."""

        def run_one(worker: int) -> Any:
            try:
                return functions[worker]()
            except Exception as error:
                return error
            finally:
                with self._changed:
                    self._running.discard(worker)
                    self._changed.notify_all()

        with ThreadPoolExecutor(len(functions)) as pool:
            return list(pool.map(run_one, range(len(functions))))
