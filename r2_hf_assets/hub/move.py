"""Renames files of the dataset repo: no bytes are moved, and at no revision is a file there twice or not at all.

A commit names the content that the Hub holds already under the new path, and deletes the old one, on top of the head
that was looked at. After a 412 or an answer that never came, what is left to do is found by looking again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import ask
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import HubSettings

# (path now, new path) of files that belong together and are renamed in one commit.
Group = Sequence[tuple[str, str]]

# The Hub asks for fewer than 100 files in a commit, and a rename names two.
_FILES_PER_COMMIT = 50


def rename_files(
    hub: HubSettings, groups: Iterable[Group], *, retry: Retry | None = None, log: Callable[[str], None] | None = None
) -> None:
    """Rename all files, each group whole within one commit. What is renamed already is left alone.

    Raises:
        R2HfError: a new path is taken by another file, or git itself holds the old one.
        AccessError, GaveUp: the Hub refuses, or can't be asked.
    """
    repo = HubClient(hub)
    for files in _together(groups):
        ask(repo, "rename files of", partial(_rename, repo, files), retry, log)


def _together(groups: Iterable[Group]) -> Iterator[list[tuple[str, str]]]:
    """Whole groups, as many at a time as one commit takes; one at the least."""
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
    waiting = [(old, new) for old, new in files if old in there]
    for old, new in waiting:
        if new in there:
            raise R2HfError(f"{old} can't be renamed: {new} is there already on the Hub")
        if there[old].sha256 is None:
            raise R2HfError(f"{old} can't be renamed: it is not in LFS on the Hub")
    if not waiting or head is None:
        return
    old, new = waiting[0]
    more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
    named = [replace(there[old], path=new) for old, new in waiting]
    repo.commit(named, [old for old, _ in waiting], head, f"Rename {old} to {new}{more}")
