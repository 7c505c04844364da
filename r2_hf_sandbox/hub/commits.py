"""Commits to the local Hub: the NDJSON of the commit route, checked as on the real Hub.

The first line is a header (summary, description, parentCommit), the others are operations in order: `file` (content
inline), `lfsFile` (the sha256 of uploaded content), `deletedFile`, `deletedFolder`. Refused are a parentCommit that is
not the head (412), an LFS pointer without uploaded content, binary or large inline content, unsafe paths, a README
whose metadata is not YAML (400), and the deletion of a missing path (404). A commit without changes is accepted, as on
the real Hub: clients leave those out.
"""

import base64
import binascii
import fnmatch
import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from r2_hf_sandbox.hub.content import Content
from r2_hf_sandbox.hub.disk import HubRefusal, git_blob_oid, lfs_pointer
from r2_hf_sandbox.hub.history import MAIN, Changes, Commit, RepoFile, Tree
from r2_hf_sandbox.hub.repos import Repo

MAX_REGULAR_BYTES = 10 * 1024 * 1024  # the real Hub's limit for content within a commit
SHA256 = re.compile(r"[0-9a-f]{64}")
README_METADATA = re.compile(r"\A---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(\r?\n|\Z)", re.DOTALL)


def make_commit(repo: Repo, content: Content, body: bytes, author: str, ref: str | None = MAIN) -> Commit:
    """Check and write the commit of a request body to `ref`; None opens a pull request from the parent.

    Raises:
        HubRefusal: see above; the repository is unchanged.
    """
    lines = _lines(body)
    header = next(lines, ("", {}))
    if header[0] != "header" or not isinstance(header[1].get("summary"), str) or not header[1]["summary"]:
        raise HubRefusal(400, "the first line must be a header with a summary")
    parent = header[1].get("parentCommit")
    with repo.lock:
        base = repo.resolve((parent if ref is None else ref) or MAIN)
        if parent not in (None, base.oid):
            raise HubRefusal(412, "A commit has happened since. Please refresh and try again.")
        before = repo.tree(base)
        tree = dict(before)
        for key, value in lines:
            _apply(tree, key, value, repo, content)
        _check_tree(tree)
        changes: Changes = {
            path: file for path, file in tree.items() if path not in before or not file.same_content(before[path])
        }
        changes |= dict.fromkeys(sorted(before.keys() - tree.keys()))
        title, message = header[1]["summary"], header[1].get("description") or ""
        ref = ref or f"refs/pr/{len(repo.pull_requests) + 1}"
        return repo.commit(title=title, message=message, author=author, changes=changes, parent=base, ref=ref)


def _lines(body: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in body.splitlines():
        try:
            entry = json.loads(line)
            yield entry["key"], dict(entry["value"])
        except (ValueError, KeyError, TypeError) as error:
            raise HubRefusal(400, "a line of the commit is not {key, value} JSON") from error


def _apply(tree: Tree, key: str, value: dict[str, Any], repo: Repo, content: Content) -> None:
    path = _safe_path(value.get("path"))
    if key == "file":
        tree[path] = _regular_file(path, value, content)
    elif key == "lfsFile":
        tree[path] = _lfs_file(path, value, repo, content)
    elif key == "deletedFile":
        if tree.pop(path, None) is None:
            raise HubRefusal(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
    elif key == "deletedFolder":
        inside = [name for name in tree if name.startswith(path + "/")]
        if not inside:
            raise HubRefusal(404, f"A folder with this name doesn't exist: {path}", "EntryNotFound")
        for name in inside:
            del tree[name]
    else:
        raise HubRefusal(400, f"unknown operation {key!r}")


def _safe_path(path: object) -> str:
    if not isinstance(path, str):
        raise HubRefusal(400, "an operation has no path")
    path = path.rstrip("/")
    if not path or path.startswith("/") or any(part in ("", ".", "..", ".git") for part in path.split("/")):
        raise HubRefusal(400, f"invalid path in repo: {path!r}")
    return path


def _regular_file(path: str, value: dict[str, Any], content: Content) -> RepoFile:
    try:
        encoded = value["content"]
        data = base64.b64decode(encoded, validate=True) if value.get("encoding") == "base64" else encoded.encode()
    except (KeyError, AttributeError, binascii.Error) as error:
        raise HubRefusal(400, f"no readable content for {path}") from error
    if len(data) > MAX_REGULAR_BYTES:
        raise HubRefusal(400, f"Your push was rejected because it contains files larger than 10 MiB: {path}")
    if is_binary(data):
        raise HubRefusal(400, f"Your push was rejected because it contains binary files: {path}")
    if path == "README.md":
        card_metadata(data)
    return RepoFile(path, len(data), content.put_blob(data))


def _lfs_file(path: str, value: dict[str, Any], repo: Repo, content: Content) -> RepoFile:
    sha256 = value.get("oid")
    if value.get("algo") != "sha256" or not isinstance(sha256, str) or not SHA256.fullmatch(sha256):
        raise HubRefusal(400, f"no sha256 for {path}")
    size = content.size_of(sha256) if repo.has_object(sha256) else None
    if size is None or value.get("size") not in (None, size):
        raise HubRefusal(
            400,
            "Your push was rejected because an LFS pointer pointed to a file that does not exist. "
            f"Offending file: - {path}",
        )
    stored = content.xet.file_of_sha256(sha256)
    pointer = git_blob_oid(lfs_pointer(sha256, size))
    return RepoFile(path, size, pointer, sha256=sha256, xet_hash=stored.hash if stored else None)


def _check_tree(tree: Tree) -> None:
    for path in tree:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            if "/".join(parts[:depth]) in tree:
                raise HubRefusal(400, f"{'/'.join(parts[:depth])} cannot be a file and a folder")


def is_binary(data: bytes) -> bool:
    if b"\0" in data:
        return True
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.end < len(data)  # a sample may end within a character
    return False


def card_metadata(readme: bytes) -> dict[str, Any]:
    """Return the YAML at the top of a README.

    Raises:
        HubRefusal: 400, it is not a YAML mapping.
    """
    match = README_METADATA.match(readme.decode(errors="replace"))
    try:
        metadata = yaml.safe_load(match[1]) if match else {}
    except yaml.YAMLError as error:
        raise HubRefusal(400, f"Invalid metadata in README.md: {error}") from error
    if not isinstance(metadata or {}, dict):
        raise HubRefusal(400, "Invalid metadata in README.md: it must be a mapping")
    return metadata or {}


def is_lfs_path(gitattributes: str, path: str) -> bool:
    """Whether a .gitattributes file puts the path into LFS."""
    name = path.rpartition("/")[2]
    patterns = (line.split()[0] for line in gitattributes.splitlines() if "filter=lfs" in line)
    return any(fnmatch.fnmatchcase(path if "/" in pattern else name, pattern) for pattern in patterns)
