"""SHA-256 of a file while it grows, in a thread of its own.

The writer says how far the file has come; the thread reads that far (from the page cache) and hashes it without
holding the GIL, so hashing costs no time of the writer's. One buffer is used again for every read: fresh memory for
each page cost more than the hashing itself. What is hashed is what the file system holds.
"""

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

_BUFFER_BYTES = 2**20


class TailHash:
    """Hashes `path`, which must exist already. Call `close` at the end, whatever happened."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._hash = hashlib.sha256()
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._position = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._steps: list[Future[None]] = []

    def advance(self, position: int) -> None:
        """The file's first `position` bytes are written and will not change."""
        self._steps.append(self._pool.submit(self._read_to, position))

    def finish(self, size: int) -> str:
        """The hex digest of the first `size` bytes. Raises OSError when the file can't be read so far."""
        self.advance(size)
        for step in self._steps:
            step.result()
        return self._hash.hexdigest()

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._file.close()

    def _read_to(self, position: int) -> None:
        while self._position < position:
            count = self._file.readinto(self._buffer[: min(_BUFFER_BYTES, position - self._position)])
            if not count:
                raise OSError(f"{self._file.name} ends at {self._position}, {position} bytes were written")
            self._hash.update(self._buffer[:count])
            self._position += count
