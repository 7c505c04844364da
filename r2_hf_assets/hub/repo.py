"""The seam to the Hub: the calls that commits, comparisons and ownership need of a dataset repo."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from r2_hf_assets.hub.client import RemoteFile, Upload


class Repo(Protocol):
    """One dataset repo; HubClient is the real one."""

    repo_id: str

    def head(self) -> str | None: ...
    def create_repo(self) -> None: ...
    def files(self, paths: Sequence[str], revision: str) -> dict[str, RemoteFile]: ...
    def list_files(self, folder: str, revision: str) -> dict[str, RemoteFile]: ...
    def read(self, path: str, revision: str) -> bytes | None: ...
    def upload(self, files: list[tuple[str, Path]]) -> list[Upload]: ...
    def check(self, upload: Upload, sha256: str) -> None: ...
    def commit(
        self,
        uploads: Sequence[Upload],
        deleted: Sequence[str],
        parent: str,
        message: str,
        contents: Mapping[str, bytes] | None = None,
    ) -> tuple[str, str]: ...
    def commit_url(self, oid: str) -> str: ...
