"""Disk usage of a run: the blocks allocated below a folder, polled ten times a second.

A deleted file that is still open is not counted.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_S = 0.1
_BLOCK = 512  # the unit of st_blocks on every file system


class DiskUse(threading.Thread):
    """Growth in bytes: `most` during the run, `end` at its end."""

    def __init__(self, folder: Path, without: str) -> None:
        super().__init__(daemon=True)
        self._folder, self._without = folder, without
        self._start = _allocated(folder, without)
        self._over = threading.Event()
        self.most = self.end = 0

    def run(self) -> None:
        while not self._over.wait(_POLL_S):
            self._poll()

    def stop(self) -> None:
        self._over.set()
        self.join()
        self._poll()

    def _poll(self) -> None:
        self.end = _allocated(self._folder, self._without) - self._start
        self.most = max(self.most, self.end)


@contextmanager
def disk_use(folder: Path, without: str) -> Iterator[DiskUse]:
    """Watch `folder` except its subfolder `without`; the numbers are complete after the block."""
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
            except OSError:  # removed since the listing
                continue
    return total
