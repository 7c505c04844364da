"""Bound the bytes of bodies that have arrived and were not yet taken.

Turns number the bodies in the order in which they are taken. The next one is always granted, so an object larger than
the budget passes alone and no deadlock is possible. Nothing blocks here: a turn that does not fit is returned by
`granted` later. A turn is here at most once, with its bytes counted or waiting.
"""

import heapq


class ByteBudget:
    """A budget of `max_bytes`, besides the body that is the next to be taken."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._used = 0
        self._next = 0
        self._held: dict[int, int] = {}  # bytes, by turn
        self.waiting: list[tuple[int, int]] = []  # a heap of (turn, size)

    def try_acquire(self, turn: int, size: int) -> bool:
        """Acquire `size` bytes if they fit now; otherwise `granted` returns the turn once it has acquired them."""
        first = not self.waiting or turn < self.waiting[0][0]  # no turn overtakes an earlier one
        if first and self._acquire(turn, size):
            return True
        heapq.heappush(self.waiting, (turn, size))
        return False

    def cancel(self, turn: int) -> None:
        """Drop what the turn holds or waits for; it may acquire anew."""
        if turn in self._held:
            self._used -= self._held.pop(turn)
        elif self.waiting:
            self.waiting = [other for other in self.waiting if other[0] != turn]
            heapq.heapify(self.waiting)

    def release(self, turn: int) -> None:
        """Release a turn that was taken; the one behind it is the next."""
        self.cancel(turn)
        self._next = turn + 1

    def granted(self) -> list[int]:
        """Acquire for the waiting turns that fit now, and return them in their order."""
        turns = []
        while self.waiting and self._acquire(*self.waiting[0]):
            turns.append(heapq.heappop(self.waiting)[0])
        return turns

    def _acquire(self, turn: int, size: int) -> bool:
        if turn > self._next and self._used + size > self._max:
            return False
        self._held[turn] = size
        self._used += size
        return True
