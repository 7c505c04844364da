"""The local Hub's dataset repositories on disk: one branch `main`, tags, pull requests, and the objects they store.

    repo.json          private, created, tags by name, the number of the last rewrite of the history
    commits/           a file for each commit, `<number>-<oid>.json` (see history.py); `commits-<n>/` after n rewrites
    objects/<sha256>   an empty file for each LFS object pushed to this repository; its time is that of the push

The rename of a commit's file into place is the commit, so a crash cannot separate two writes. A rewritten history is
written beside the old one, and the rename of repo.json switches both history and tags. An object belongs to the
repositories it was pushed to, while its content (content.py) is stored once.
"""

import hashlib
import json
import shutil
import threading
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from r2_hf_sandbox.hub.disk import HubRefusal, iso, write_whole
from r2_hf_sandbox.hub.history import MAIN, Changes, Commit, RepoFile, Tree, read_history, write_commit

# From the real Hub's .gitattributes for a new dataset.
LFS_PATTERNS = (
    "*.7z *.arrow *.avro *.bin *.bz2 *.ckpt *.ftz *.gz *.h5 *.joblib *.lz4 *.mds *.mlmodel *.model *.msgpack *.npy "
    "*.npz *.onnx *.ot *.parquet *.pb *.pickle *.pkl *.pt *.pth *.rar *.safetensors saved_model/**/* *.tar.* *.tar "
    "*.tflite *.tgz *.wasm *.xz *.zip *.zst *tfevents* *.pcm *.sam *.raw *.aac *.flac *.mp3 *.ogg *.wav *.bmp *.gif "
    "*.png *.tiff *.jpg *.jpeg *.webp *.mp4 *.webm"
).split()
GITATTRIBUTES = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LFS_PATTERNS).encode()


class Repo:
    """A repository on disk. Hold `lock` from reading a head to `commit`, and around every other change of refs."""

    def __init__(self, folder: Path, repo_id: str) -> None:
        self.folder, self.repo_id = folder, repo_id
        self.lock = threading.Lock()
        record = json.loads((folder / "repo.json").read_text())
        self.private: bool = record["private"]
        self.created: str = record["created"]
        self.tags: dict[str, str] = record.get("tags", {})
        self._rewrites: int = record.get("rewrites", 0)
        self._history = read_history(self._commits_folder)

    @cached_property
    def internal_id(self) -> str:
        return hashlib.sha1(f"{self.repo_id} {self.created}".encode()).hexdigest()[:24]

    @property
    def _commits_folder(self) -> Path:
        return self.folder / (f"commits-{self._rewrites}" if self._rewrites else "commits")

    @property
    def commits(self) -> list[Commit]:
        """All commits by number, also those that no ref holds any more."""
        return self._history.commits

    @property
    def head(self) -> Commit:
        head, _ = self._history.main
        assert head is not None
        return head

    @property
    def pull_requests(self) -> dict[str, Commit]:
        """The head of each pull request, by ref."""
        return {ref: commit for ref, commit in self._history.heads.items() if ref != MAIN}

    def resolve(self, revision: str) -> Commit:
        """Return the commit of `main`, a tag, `refs/pr/N`, or a full oid that one of these holds.

        Raises:
            HubRefusal: 404, there is none.
        """
        history = self._history
        named = history.heads.get(MAIN if revision == "main" else revision)
        oid = self.tags.get(revision.removeprefix("refs/tags/"), revision)
        if commit := named or history.by_oid.get(oid):
            starts = (*history.heads.values(), *(history.by_oid[tagged] for tagged in self.tags.values()))
            if named or any(commit in history.ancestry(start) for start in starts):
                return commit
        raise HubRefusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def history(self, commit: Commit) -> list[Commit]:
        """Return a commit and those before it, newest first."""
        return list(self._history.ancestry(commit))

    def tree(self, commit: Commit) -> Tree:
        """Return the files at a commit; callers must not change them."""
        return self._history.tree(commit)

    def commit(
        self, *, title: str, message: str, author: str, changes: Changes, parent: Commit | None, ref: str = MAIN
    ) -> Commit:
        """Write a commit to `ref` on top of `parent`. The caller holds `lock` and has checked the changes."""
        number = len(self.commits)
        numbered = {path: file and replace(file, commit=number) for path, file in changes.items()}
        oid = parent.oid if parent else None
        made = Commit(number, "", oid, title, message, iso(datetime.now(UTC)), author, numbered, ref)
        made = made.with_oid(self.repo_id)
        write_commit(self._commits_folder, made)
        self._history.append(made)
        return made

    def set_tag(self, tag: str, commit: Commit | None) -> None:
        """Create a tag, or remove it when `commit` is None. The caller holds `lock`."""
        kept = {name: oid for name, oid in self.tags.items() if name != tag}
        self._save(kept | ({tag: commit.oid} if commit else {}), self._rewrites)

    def forget(self, sha256s: Collection[str]) -> None:
        """Rewrite the history without pointers to this content: commits from the first one on get new oids."""
        history, oids = self._history.without(self.repo_id, sha256s)
        if all(old == new for old, new in oids.items()):
            return
        old_folder = self._commits_folder
        new_folder = self.folder / f"commits-{self._rewrites + 1}"
        shutil.rmtree(new_folder, ignore_errors=True)  # of a rewrite that was killed
        for commit in history.commits:
            write_commit(new_folder, commit)
        self._save({tag: oids[oid] for tag, oid in self.tags.items()}, self._rewrites + 1)
        self._history = history
        shutil.rmtree(old_folder)

    def _save(self, tags: dict[str, str], rewrites: int) -> None:
        record = {"private": self.private, "created": self.created, "tags": tags, "rewrites": rewrites}
        write_whole(self.folder / "repo.json", json.dumps(record).encode())
        self.tags, self._rewrites = tags, rewrites

    def push_object(self, sha256: str) -> None:
        path = self.folder / "objects" / sha256
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.touch()

    def drop_object(self, sha256: str) -> None:
        (self.folder / "objects" / sha256).unlink(missing_ok=True)

    def has_object(self, sha256: str) -> bool:
        return (self.folder / "objects" / sha256).exists()

    def has_content(self, file: RepoFile) -> bool:
        """Return False for an LFS file whose object was deleted for good."""
        return file.sha256 is None or self.has_object(file.sha256)

    def objects(self) -> dict[str, datetime]:
        """Return when each LFS object was pushed, by sha256."""
        files = (self.folder / "objects").glob("*")
        return {path.name: datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in files}


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

    def of_internal_id(self, internal_id: str) -> Repo | None:
        return next((repo for repo in list(self._repos.values()) if repo.internal_id == internal_id), None)

    def unshared(self, repo: Repo, sha256s: Collection[str]) -> set[str]:
        """Return those objects that no repository but this one has."""
        others = [other for other in list(self._repos.values()) if other is not repo]
        return {sha256 for sha256 in sha256s if not any(other.has_object(sha256) for other in others)}

    def create(self, repo_id: str, *, private: bool, author: str, first: Changes) -> Repo | None:
        """Return a new repository with its initial commit, or None when the name is taken."""
        with self._lock:
            if repo_id in self._repos:
                return None
            folder = self._folder / repo_id
            record = {"private": private, "created": iso(datetime.now(UTC))}
            write_whole(folder / "repo.json", json.dumps(record).encode())
            repo = Repo(folder, repo_id)
            repo.commit(title="initial commit", message="", author=author, changes=first, parent=None)
            self._repos[repo_id] = repo
            return repo

    def delete(self, repo_id: str) -> None:
        with self._lock:
            repo = self._repos.pop(repo_id)
            (repo.folder / "repo.json").unlink()
            shutil.rmtree(repo.folder)
