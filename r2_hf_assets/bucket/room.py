"""Counts bytes that have arrived and were not yet taken, and says who has to wait when there are too many.

Turns are numbered in the order in which the bodies will be taken. The next one to be taken always may come in, so one
huge object passes alone, and nothing can wait for itself. Nothing blocks here: whoever has to wait is named by
`admitted` later.
"""

import heapq


class Room:
    """Room for `max_bytes`, besides the body that is the next to be taken."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._used = 0
        self._head = 0
        self._waiting: list[tuple[int, int]] = []  # a heap of (turn, size)

    @property
    def waiting(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def enter(self, turn: int, size: int) -> bool:
        """Whether `size` bytes have room now. If not, `admitted` names the turn when they have, and they are in."""
        first = not self._waiting or turn < self._waiting[0][0]  # nobody is let in past an earlier turn
        if first and self._fits(turn, size):
            self._used += size
            return True
        heapq.heappush(self._waiting, (turn, size))
        return False

    def leave(self, size: int) -> None:
        """The next body was taken, `size` bytes of it in here; the turn behind it is the next."""
        self._used -= size
        self._head += 1

    def admitted(self) -> list[tuple[int, int]]:
        """(turn, size) of those who waited and are in now, in their order."""
        let_in = []
        while self._waiting and self._fits(*self._waiting[0]):
            turn, size = heapq.heappop(self._waiting)
            self._used += size
            let_in.append((turn, size))
        return let_in

    def _fits(self, turn: int, size: int) -> bool:
        return turn <= self._head or self._used + size <= self._max
