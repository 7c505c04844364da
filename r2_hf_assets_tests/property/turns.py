"""Threads that take turns in an order that is drawn beforehand: any interleaving of their steps, and always the same.

A step is a call to what they share, a store or a repo. It is made alone, when it is its player's turn. A player that
has left loses its turns; when the drawn order is used up everybody goes on freely, one step at a time.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

_PATIENCE_S = 60


class Killed(Exception):
    """What a player meets in the step in which it dies."""


class Turns:
    """`order` names the player (0, 1, ...) of each step; `dies_at` the step of a player's own that it dies in."""

    def __init__(self, order: Sequence[int], players: int, dies_at: dict[int, int] | None = None) -> None:
        self._order = deque(order)
        self._playing = set(range(players))
        self._dies_at = dies_at or {}
        self._made = [0] * players
        self._changed = threading.Condition()

    @contextmanager
    def step(self, player: int) -> Iterator[None]:
        with self._changed:
            if not self._changed.wait_for(lambda: self._next() in (player, None), _PATIENCE_S):
                raise TimeoutError(f"player {player} was never given its turn")
            if self._order:
                self._order.popleft()
            self._changed.notify_all()
            self._made[player] += 1
            if self._made[player] > self._dies_at.get(player, 10**9):
                raise Killed
            yield

    def _next(self) -> int | None:
        while self._order and self._order[0] not in self._playing:
            self._order.popleft()
        return self._order[0] if self._order else None

    def play(self, *players: Callable[[], Any]) -> list[Any]:
        """Run one function a player, side by side. What each returned, or the exception that it ended with."""

        def run(player: int) -> Any:
            try:
                return players[player]()
            except Exception as error:
                return error
            finally:
                with self._changed:
                    self._playing.discard(player)
                    self._changed.notify_all()

        with ThreadPoolExecutor(len(players)) as pool:
            return list(pool.map(run, range(len(players))))
