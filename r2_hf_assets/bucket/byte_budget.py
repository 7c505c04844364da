"""Bound the bytes of bodies that have arrived and were not yet taken.

An index numbers the bodies in the order in which they are taken. The next one is always granted, so an object larger
than the budget passes alone and no deadlock is possible. Nothing blocks: `granted` returns later what does not fit now.
"""

import heapq


class ByteBudget:
    """A budget of `max_bytes`, besides the body that is taken next."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._used = 0
        self._next = 0
        self._held: dict[int, int] = {}  # bytes, by index
        self.waiting: list[tuple[int, int]] = []  # a heap of (index, size)

    def try_acquire(self, index: int, size: int) -> bool:
        """Acquire `size` bytes if they fit now; otherwise `granted` returns the index once they do."""
        first = not self.waiting or index < self.waiting[0][0]  # a later index never overtakes
        if first and self._acquire(index, size):
            return True
        heapq.heappush(self.waiting, (index, size))
        return False

    def cancel(self, index: int) -> None:
        """Drop what the index holds or waits for; it may acquire again."""
        if index in self._held:
            self._used -= self._held.pop(index)
        elif self.waiting:
            self.waiting = [other for other in self.waiting if other[0] != index]
            heapq.heapify(self.waiting)

    def release(self, index: int) -> None:
        """Release a body that was taken; the one behind it becomes the next."""
        self.cancel(index)
        self._next = index + 1

    def granted(self) -> list[int]:
        """Acquire for the waiting bodies that fit now, and return their indexes in order."""
        indexes = []
        while self.waiting and self._acquire(*self.waiting[0]):
            indexes.append(heapq.heappop(self.waiting)[0])
        return indexes

    def _acquire(self, index: int, size: int) -> bool:
        if index > self._next and self._used + size > self._max:
            return False
        self._held[index] = size
        self._used += size
        return True
