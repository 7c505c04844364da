"""SHA-256 of a file while it grows, in a thread of its own.

The thread follows the writer closely, so it reads what the processor's caches may still hold, and has little left to
do when the file ends. It holds no GIL while it reads and hashes, and uses one buffer for every read: fresh memory cost
more than the hashing itself. What is hashed is what the file system holds.
"""

import hashlib
import threading
from pathlib import Path

# Between two reads it waits for the interpreter, up to 5 ms while other threads compute: with 1 MiB it fell behind.
_BUFFER_BYTES = 8 * 2**20
_LOOK_SECONDS = 0.005


class TailHash:
    """Hashes `path`, which must exist already and only ever grow. Call `close` at the end, whatever happened."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._hash = hashlib.sha256()
        self._position = 0
        self._error: Exception | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="hash", daemon=True)
        self._thread.start()

    def finish(self, size: int) -> str:
        """The hex digest of the file, whose `size` bytes are all written. Raises OSError when it can't be read."""
        self._stop()
        if self._error is not None:
            raise self._error
        if self._position != size:
            raise OSError(f"{self._file.name} ends at {self._position}, {size} bytes were written")
        return self._hash.hexdigest()

    def close(self) -> None:
        self._stop()
        self._file.close()

    def _stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        try:
            while True:
                last = self._over.is_set()  # before the read, so that nothing written before it is missed
                while count := self._file.readinto(buffer):
                    self._hash.update(buffer[:count])
                    self._position += count
                if last:
                    return
                self._over.wait(_LOOK_SECONDS)
        except Exception as error:
            self._error = error
