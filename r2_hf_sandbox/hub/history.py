"""The commits of a local Hub's repository: the files they change, the trees they make, and their JSON on disk.

A commit belongs to the ref it was written to: the branch `main` or a pull request's `refs/pr/N`. The head of a ref is
its commit with the highest number. A commit without a parent starts a new history, as after a super-squash; the ones
before it stay, but only tags and pull requests may still reach them. Oids are sha1 over parent, changes, message and
date: unique 40 hex digits, but not git's own.
"""

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from r2_hf_sandbox.hub.disk import lfs_pointer, write_whole

MAIN = "refs/heads/main"


@dataclass(frozen=True)
class RepoFile:
    """One file of a tree. `oid` is git's blob id: of the content, or for an LFS file (with `sha256`) of the pointer."""

    path: str
    size: int
    oid: str
    sha256: str | None = None
    xet_hash: str | None = None
    commit: int = 0

    @property
    def content_id(self) -> str:
        """The preupload route's oid."""
        return self.sha256 or self.oid

    def same_content(self, other: "RepoFile") -> bool:
        return replace(self, commit=other.commit) == other

    def as_json(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "oid": self.oid, "size": self.size, "path": self.path}
        if self.sha256:
            pointer_size = len(lfs_pointer(self.sha256, self.size))
            entry["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": pointer_size}
        if self.xet_hash:
            entry["xetHash"] = self.xet_hash
        return entry


Tree = dict[str, RepoFile]
Changes = dict[str, RepoFile | None]


@dataclass(frozen=True)
class Commit:
    """One commit. `changes` maps a path to its new file, or None for a removed one."""

    number: int
    oid: str
    parent: str | None
    title: str
    message: str
    date: str
    author: str
    changes: Changes
    ref: str = MAIN

    def with_oid(self, repo_id: str) -> "Commit":
        parts = [repo_id, self.number, self.parent, self.title, self.message, self.date, _as_json(self.changes)]
        return replace(self, oid=hashlib.sha1(json.dumps(parts).encode()).hexdigest())


class History:
    """All commits in the order of their numbers, the head of each ref, and the tree of main."""

    def __init__(self, commits: list[Commit]) -> None:
        self.commits = commits
        self.by_oid = {commit.oid: commit for commit in commits}
        self.heads = {commit.ref: commit for commit in commits}
        head = self.heads.get(MAIN)
        # One value, so that no reader gets a new head with the old tree.
        self.main = head, self._older_tree(head.oid) if head else {}

    def ancestry(self, commit: Commit) -> Iterator[Commit]:
        """Yield a commit and those before it, newest first."""
        found: Commit | None = commit
        while found:
            yield found
            found = self.by_oid[found.parent] if found.parent else None

    def tree(self, commit: Commit) -> Tree:
        """Return the files at a commit; callers must not change them."""
        head, tree = self.main
        return tree if commit is head else self._older_tree(commit.oid)

    @lru_cache(maxsize=4)  # noqa: B019 (a history lives as long as its Hub, or until it is rewritten)
    def _older_tree(self, oid: str) -> Tree:
        return _replayed({}, list(self.ancestry(self.by_oid[oid]))[::-1])

    def append(self, commit: Commit) -> None:
        self.commits.append(commit)
        self.by_oid[commit.oid] = commit
        if commit.ref == MAIN:
            self.main = commit, _replayed(self.main[1] if commit.parent else {}, [commit])
        self.heads = {**self.heads, commit.ref: commit}

    def without(self, repo_id: str, sha256s: Collection[str]) -> tuple["History", dict[str, str]]:
        """Return the history without pointers to this content, and each commit's new oid by its old one."""
        oids: dict[str, str] = {}
        commits = []
        for commit in self.commits:
            changes = {path: None if file and file.sha256 in sha256s else file for path, file in commit.changes.items()}
            parent = commit.parent and oids[commit.parent]
            changed = replace(commit, changes=changes, parent=parent)
            commits.append(commit if changed == commit else changed.with_oid(repo_id))
            oids[commit.oid] = commits[-1].oid
        return History(commits), oids


def write_commit(folder: Path, commit: Commit) -> None:
    """Write a commit into the folder of commits. The rename into place is the commit."""
    record = {**asdict(commit), "changes": _as_json(commit.changes)}
    write_whole(folder / f"{commit.number:08d}-{commit.oid}.json", json.dumps(record).encode())


def read_history(folder: Path) -> History:
    return History([_read_commit(path) for path in sorted(folder.glob("*.json"))])


def _read_commit(path: Path) -> Commit:
    record = json.loads(path.read_text())
    changes = {path: entry and RepoFile(**entry) for path, entry in record.pop("changes").items()}
    return Commit(**record, changes=changes)


def _replayed(tree: Tree, commits: list[Commit]) -> Tree:
    """Return a new tree with the changes of the commits."""
    replayed = dict(tree)
    for commit in commits:
        for path, file in commit.changes.items():
            if file:
                replayed[path] = file
            else:
                replayed.pop(path, None)
    return replayed


def _as_json(changes: Changes) -> dict[str, Any]:
    return {path: file and asdict(file) for path, file in changes.items()}
