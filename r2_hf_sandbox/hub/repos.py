"""The local Hub's dataset repositories: a linear history of commits on disk, with one branch `main`.

A commit is one file, `commits/<number>-<oid>.json`, with its changes. The rename into place is the commit: the head is
the highest number, so a crash cannot separate two writes. Trees are replayed from the changes; the head's tree stays
in memory. Oids are sha1 over parent, changes, message and date: unique 40 hex digits, but not git's own.
"""

import hashlib
import json
import shutil
import threading
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from r2_hf_sandbox.hub.disk import HubRefusal, lfs_pointer, now, write_whole

# From the real Hub's .gitattributes for a new dataset.
LFS_PATTERNS = (
    "*.7z *.arrow *.avro *.bin *.bz2 *.ckpt *.ftz *.gz *.h5 *.joblib *.lz4 *.mds *.mlmodel *.model *.msgpack *.npy "
    "*.npz *.onnx *.ot *.parquet *.pb *.pickle *.pkl *.pt *.pth *.rar *.safetensors saved_model/**/* *.tar.* *.tar "
    "*.tflite *.tgz *.wasm *.xz *.zip *.zst *tfevents* *.pcm *.sam *.raw *.aac *.flac *.mp3 *.ogg *.wav *.bmp *.gif "
    "*.png *.tiff *.jpg *.jpeg *.webp *.mp4 *.webm"
).split()
GITATTRIBUTES = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LFS_PATTERNS).encode()


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
    changes: dict[str, RepoFile | None]


Tree = dict[str, RepoFile]


class Repo:
    """A repository on disk. Hold `lock` from reading the head to `commit`."""

    def __init__(self, folder: Path, repo_id: str) -> None:
        self.folder, self.repo_id = folder, repo_id
        self.lock = threading.Lock()
        record = json.loads((folder / "repo.json").read_text())
        self.private: bool = record["private"]
        self.created: str = record["created"]
        self.commits = [_read_commit(path) for path in sorted((folder / "commits").glob("*.json"))]
        # One value, so that no reader gets a new head with the old tree.
        self._head = (self.commits[-1] if self.commits else None, _replayed({}, self.commits))

    @cached_property
    def internal_id(self) -> str:
        return hashlib.sha1(f"{self.repo_id} {self.created}".encode()).hexdigest()[:24]

    @property
    def head(self) -> Commit:
        assert self._head[0] is not None
        return self._head[0]

    def resolve(self, revision: str) -> Commit:
        """Return the commit of `main` or of a full oid.

        Raises:
            HubRefusal: 404, there is none.
        """
        if revision in ("main", "refs/heads/main"):
            return self.head
        for commit in reversed(self.commits):
            if commit.oid == revision:
                return commit
        raise HubRefusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def tree(self, commit: Commit) -> Tree:
        """Return the files at a commit; callers must not change them."""
        head, tree = self._head
        return tree if commit is head else self._older_tree(commit.number)

    @lru_cache(maxsize=4)  # noqa: B019 (a repository lives as long as its Hub)
    def _older_tree(self, number: int) -> Tree:
        return _replayed({}, self.commits[: number + 1])

    def commit(self, *, title: str, message: str, author: str, changes: dict[str, RepoFile | None]) -> Commit:
        """Write a commit on top of the head. The caller holds `lock` and has checked the changes."""
        number = len(self.commits)
        parent = self.commits[-1].oid if self.commits else None
        numbered = {path: file and replace(file, commit=number) for path, file in changes.items()}
        date = now()
        seed = json.dumps([self.repo_id, number, parent, title, message, date, _as_json(numbered)])
        commit = Commit(number, hashlib.sha1(seed.encode()).hexdigest(), parent, title, message, date, author, numbered)
        record = {**asdict(commit), "changes": _as_json(numbered)}
        path = self.folder / "commits" / f"{number:08d}-{commit.oid}.json"
        write_whole(path, json.dumps(record).encode())
        self.commits.append(commit)
        self._head = (commit, _replayed(self._head[1], [commit]))
        return commit


class Repos:
    """All repositories of a Hub, by `namespace/name`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        stored = (
            Repo(path.parent, f"{path.parent.parent.name}/{path.parent.name}") for path in folder.glob("*/*/repo.json")
        )
        # Without a commit, the Hub was killed during the creation: the repository does not exist.
        self._repos = {repo.repo_id: repo for repo in stored if repo.commits}

    def get(self, repo_id: str) -> Repo | None:
        return self._repos.get(repo_id)

    def create(self, repo_id: str, *, private: bool, author: str, first: dict[str, RepoFile | None]) -> Repo | None:
        """Return a new repository with its initial commit, or None when the name is taken."""
        with self._lock:
            if repo_id in self._repos:
                return None
            folder = self._folder / repo_id
            write_whole(folder / "repo.json", json.dumps({"private": private, "created": now()}).encode())
            repo = Repo(folder, repo_id)
            repo.commit(title="initial commit", message="", author=author, changes=first)
            self._repos[repo_id] = repo
            return repo

    def delete(self, repo_id: str) -> None:
        with self._lock:
            repo = self._repos.pop(repo_id)
            (repo.folder / "repo.json").unlink()
            shutil.rmtree(repo.folder)


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


def _as_json(changes: dict[str, RepoFile | None]) -> dict[str, Any]:
    return {path: file and asdict(file) for path, file in changes.items()}


def _read_commit(path: Path) -> Commit:
    record = json.loads(path.read_text())
    changes = {path: entry and RepoFile(**entry) for path, entry in record.pop("changes").items()}
    return Commit(**record, changes=changes)
