"""Rename files of the dataset repo without moving bytes; at every revision each file exists exactly once.

A commit adds the content that the Hub holds already under the new path and deletes the old path, with the head that was
read as its parent. After a 412 or a lost response the next attempt reads the head again and renames what is left.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.client import HubClient

# (old path, new path) of files that are renamed in one commit.
Group = Sequence[tuple[str, str]]

# The Hub recommends fewer than 100 files a commit, and a rename changes two paths.
_FILES_PER_COMMIT = 50


def rename_files(repo: HubClient, groups: Iterable[Group]) -> None:
    """Rename all files, each group whole within one commit. Idempotent.

    Raises:
        R2HfError: a new path is taken by another file, or an old one is not in LFS.
        AccessError, GaveUp: the Hub refuses, or can't be read.
    """
    for files in _batches(groups):
        repo.call_with_retry("rename files of", partial(_rename, repo, files))


def _batches(groups: Iterable[Group]) -> Iterator[list[tuple[str, str]]]:
    """Yield whole groups, as many together as fit into one commit, at least one."""
    files: list[tuple[str, str]] = []
    for group in groups:
        if files and len(files) + len(group) > _FILES_PER_COMMIT:
            yield files
            files = []
        files += group
    if files:
        yield files


def _rename(repo: HubClient, files: Group) -> None:
    head = repo.head()
    there = repo.files([path for pair in files for path in pair], head) if head else {}
    left = [(old, new) for old, new in files if old in there]
    for old, new in left:
        if new in there:
            raise R2HfError(f"{old} can't be renamed: {new} is there already on the Hub")
        if there[old].sha256 is None:
            raise R2HfError(f"{old} can't be renamed: it is not in LFS on the Hub")
    if not left or head is None:
        return
    old, new = left[0]
    more = f" and {len(left) - 1} more" if len(left) > 1 else ""
    renamed = [replace(there[old], path=new) for old, new in left]
    repo.commit(renamed, [old for old, _ in left], head, f"Rename {old} to {new}{more}")
