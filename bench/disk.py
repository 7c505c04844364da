"""How much disk a run uses: the files below a folder, looked at ten times a second.

Counted is what the file system has allocated. A file that has no name any more while it is open is not seen.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_S = 0.1
_BLOCK = 512  # st_blocks are of that size whatever the file system's own are


class DiskUse(threading.Thread):
    """Bytes beyond what was there at the start: `most` during the run, `end` at its end."""

    def __init__(self, folder: Path, without: str) -> None:
        super().__init__(daemon=True)
        self._folder, self._without = folder, without
        self._start = _allocated(folder, without)
        self._over = threading.Event()
        self.most = self.end = 0

    def run(self) -> None:
        while not self._over.wait(_LOOK_S):
            self._look()

    def stop(self) -> None:
        self._over.set()
        self.join()
        self._look()

    def _look(self) -> None:
        self.end = _allocated(self._folder, self._without) - self._start
        self.most = max(self.most, self.end)


@contextmanager
def disk_use(folder: Path, without: str) -> Iterator[DiskUse]:
    """Watch `folder` but for what is in its folder `without`; the numbers are whole after the block."""
    use = DiskUse(folder, without)
    use.start()
    try:
        yield use
    finally:
        use.stop()


def _allocated(folder: Path, without: str) -> int:
    total = 0
    for root, folders, files in os.walk(folder):
        if root == str(folder) and without in folders:
            folders.remove(without)
        for name in files:
            try:
                total += (Path(root) / name).lstat().st_blocks * _BLOCK
            except OSError:  # removed between the listing and this look
                continue
    return total
