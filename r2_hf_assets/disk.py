"""Disk errors as one line: which folder, what is wrong with it, what to do.

The errno decides: Python's and Arrow's errors have it as an attribute; obstore's and hf_xet's quote it, as Rust prints
it: `(os error 28)`; DuckDB's quote its message, or the limit of temporary files, which is the free space. Nothing is
retried within a run, because a full disk does not clear in seconds.
"""

import errno
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from r2_hf_assets.errors import DiskError, DiskFull, R2HfError

_FULL = {
    errno.ENOSPC: "no space is left on its disk; free some, and a later run continues",
    errno.EDQUOT: "this user's quota of its disk is used up; free some, and a later run continues",
}
_WRONG = {
    errno.EROFS: "it is read-only; mount it for writing, or choose another folder",
    errno.EACCES: "this user has no permission; change its owner or mode",
    errno.EPERM: "this user has no permission; change its owner or mode",
    errno.ENOENT: "it does not exist, or its disk is not mounted; restore it",
    errno.ENOTDIR: "a file is in place of a folder; move it away",
    errno.EEXIST: "a file is in place of a folder; move it away",
    errno.EISDIR: "a folder is in place of a file; move it away",
    errno.EXDEV: "it spans several disks; all of it must be on one",
    errno.EIO: "its disk can't be read or written; check the disk",
    errno.ESTALE: "its network disk was lost; mount it again",
}

# A write takes milliseconds, so an older temporary file is an orphan.
_TORN_SECONDS = 60

# From obstore these mean that an object does not exist, or already does: no error of the disk.
_ABOUT_OBJECTS = (errno.ENOENT, errno.EEXIST)


@contextmanager
def on_disk(folder: Path | str | None) -> Iterator[None]:
    """Raise disk errors of the work in `folder` as DiskError or DiskFull; None changes no error."""
    try:
        yield
    except Exception as error:
        if folder and (as_disk_error := disk_error(error, folder)):
            raise as_disk_error from error
        raise


def disk_error(error: BaseException, folder: Path | str) -> DiskError | None:
    """Return the error for a user; None when `error` is not about a disk."""
    if isinstance(error, R2HfError):
        return None
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (quoted := re.search(r"\(os error (\d+)\)", str(error))):
        number = int(quoted[1])
        if isinstance(error, FileNotFoundError) or (number in _ABOUT_OBJECTS and not isinstance(error, OSError)):
            return None
    if number is None and type(error).__module__ == "_duckdb":
        number = _quoted_by_duckdb(str(error))
    if number in _FULL:
        return DiskFull(f"{folder}: {_FULL[number]}")
    return DiskError(f"{folder}: {_WRONG[number]}") if number in _WRONG else None


def _quoted_by_duckdb(text: str) -> int | None:
    if "max_temp_directory_size" in text:
        return errno.ENOSPC
    return next((number for number in (*_FULL, *_WRONG) if os.strerror(number) in text), None)


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a folder that is locked, and removed at the end. Removes what killed processes left in `parent`."""
    with on_disk(parent.absolute()):
        parent.mkdir(parents=True, exist_ok=True)
        for path in stale(parent.iterdir(), _TORN_SECONDS):
            with suppress(OSError), _locked(path):  # another user's, in use, or removed already
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        folder = tempfile.TemporaryDirectory(dir=parent, prefix=prefix, ignore_cleanup_errors=True)
    with folder as name, _locked(Path(name)):
        yield Path(name)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock a folder by a file in it, as NFS locks no folder, or a file. Raises OSError if another process has it."""
    with (path / ".lock" if path.is_dir() else path).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def remove_torn_writes(folder: Path, names: str) -> None:
    """Remove files of killed writers: obstore writes NAME#1, renames it to NAME, and never lists NAME#1."""
    for path in stale(folder.glob(names), _TORN_SECONDS):
        path.unlink(missing_ok=True)  # its writer may rename it now


def stale(paths: Iterable[Path], seconds: float) -> Iterator[Path]:
    """Yield the existing paths that were last written longer ago than `seconds`."""
    for path in paths:
        try:
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            continue
        if age > seconds:
            yield path


def sync(files: Iterable[Path]) -> None:
    """Flush these files and their names to the disk, so that they survive a power loss."""
    paths = list(files)
    for path in (*paths, *{path.parent for path in paths}):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
