"""The byte budget: counts bytes that have arrived and were not yet taken, and holds back those that exceed it.

Turns are numbered in the order in which the bodies will be taken. The next one to be taken is always admitted, so one
huge object passes alone, and nothing can wait for itself. Nothing blocks here: a turn that has to wait is named by
`admitted` later. A turn is here at most once, in the budget or waiting for it.
"""

import heapq


class Room:
    """Room for `max_bytes`, besides the body that is the next to be taken."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._used = 0
        self._head = 0
        self._held: dict[int, int] = {}  # bytes, by turn
        self._waiting: list[tuple[int, int]] = []  # a heap of (turn, size)

    @property
    def waiting(self) -> bool:
        """Whether any turn waits."""
        return bool(self._waiting)

    def enter(self, turn: int, size: int) -> bool:
        """Whether `size` bytes have room now. If not, `admitted` names the turn when they have, and they are in."""
        first = not self._waiting or turn < self._waiting[0][0]  # nothing is admitted past an earlier turn
        if first and self._fits(turn, size):
            self._hold(turn, size)
            return True
        heapq.heappush(self._waiting, (turn, size))
        return False

    def withdraw(self, turn: int) -> None:
        """The turn's bytes were dropped, or will not come: it holds nothing, waits for nothing, and may enter anew."""
        if turn in self._held:
            self._used -= self._held.pop(turn)
        elif self._waiting:
            self._waiting = [other for other in self._waiting if other[0] != turn]
            heapq.heapify(self._waiting)

    def leave(self, turn: int) -> None:
        """The turn was taken, and the one behind it is the next."""
        self.withdraw(turn)
        self._head = turn + 1

    def admitted(self) -> list[int]:
        """The turns that waited and are in now, in their order."""
        let_in = []
        while self._waiting and self._fits(*self._waiting[0]):
            turn, size = heapq.heappop(self._waiting)
            self._hold(turn, size)
            let_in.append(turn)
        return let_in

    def _hold(self, turn: int, size: int) -> None:
        self._held[turn] = size
        self._used += size

    def _fits(self, turn: int, size: int) -> bool:
        return turn <= self._head or self._used + size <= self._max
