"""The dataset repo: the few requests that the product makes, by huggingface_hub's public API where it has one.

A commit is made by the Hub's documented route, with huggingface_hub's session, headers and errors: the content of its
files is on the Hub already (upload_xet.py), so it names each by SHA-256 and size and needs no local file, which
`create_commit` asks for. How long the Hub may be silent is in timeouts.py and upload_xet.py.

huggingface_hub is imported when a client is made, not before: HF_HUB_ENABLE_HF_TRANSFER=1 means "go fast", which 1.0
and later read as HF_XET_HIGH_PERFORMANCE=1 at import, while 0.36 has hf_transfer itself. The same calls work on both.
"""

import base64
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from r2_hf_assets.hub.errors import NOT_FOUND, HeadMoved
from r2_hf_assets.hub.timeouts import bound_requests
from r2_hf_assets.settings import HubSettings, is_on

REPO_TYPE = "dataset"
BRANCH = "main"
_NO_ROUTE = (NOT_FOUND, 405, 501)
_LFS_JSON = "application/vnd.git-lfs+json"
# What .gitattributes must say for git to leave our files to LFS, which alone names them by SHA-256.
LFS_ATTRIBUTES = "*.parquet filter=lfs diff=lfs merge=lfs -text"


@dataclass(frozen=True)
class RemoteFile:
    """A file at a revision, or one that a commit is to name.

    Attributes:
        sha256: None for a small file that git itself holds.
        blob_id: git's SHA-1 of it.
    """

    path: str
    size: int
    sha256: str | None
    blob_id: str = ""


@dataclass(frozen=True)
class XetAccess:
    """Where a repo's content goes over Xet, and the token for it; `expires` in Unix seconds."""

    endpoint: str
    token: str
    expires: int
    refresh_url: str


class HubClient:
    """One dataset repo. Every method makes the requests it names and retries nothing itself."""

    def __init__(self, settings: HubSettings) -> None:
        if settings.fast_transfer:
            os.environ.setdefault("HF_XET_HIGH_PERFORMANCE", "1")
        # No progress bars: they would fill the run's captured stderr. The variable is for a library that is not yet
        # imported, the call for one that is.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        from huggingface_hub import HfApi, constants
        from huggingface_hub.utils import disable_progress_bars

        if is_on("HF_HUB_DISABLE_PROGRESS_BARS"):
            disable_progress_bars()
        bound_requests()
        self.repo_id = settings.repo_id
        self.endpoint = settings.endpoint
        self.fast = is_on("HF_XET_HIGH_PERFORMANCE")
        self._xet_forbidden = constants.HF_HUB_DISABLE_XET
        self._private = settings.private
        self.api = HfApi(endpoint=settings.endpoint, token=settings.token, library_name="r2_hf_assets")

    def head(self) -> str | None:
        """The commit main is at; None when there is no such repo.

        The library says RepositoryNotFoundError of a 401 and a 403 as well: of a token that expired, or a repo behind a
        gate. Only a 404 says that there is none.
        """
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            # The commit alone: the answer has the names of all files otherwise.
            return self.api.dataset_info(self.repo_id, revision=BRANCH, expand=["sha"]).sha
        except RepositoryNotFoundError as error:
            if error.response is not None and error.response.status_code == NOT_FOUND:
                return None
            raise

    def create_repo(self) -> None:
        """Make the repo; nothing when it is there already."""
        self.api.create_repo(self.repo_id, repo_type=REPO_TYPE, private=self._private, exist_ok=True)

    def files(self, paths: Sequence[str], revision: str) -> dict[str, RemoteFile]:
        """Those of `paths` that exist at `revision`."""
        return _by_path(self.api.get_paths_info(self.repo_id, list(paths), repo_type=REPO_TYPE, revision=revision))

    def list_files(self, folder: str, revision: str) -> dict[str, RemoteFile]:
        """Every file below `folder` at `revision`: a request for each thousand."""
        from huggingface_hub.errors import EntryNotFoundError

        try:
            return _by_path(
                self.api.list_repo_tree(self.repo_id, folder, recursive=True, revision=revision, repo_type=REPO_TYPE)
            )
        except EntryNotFoundError:
            return {}

    def read(self, path: str, revision: str) -> bytes | None:
        """The content of a small file at `revision`; None when it is not there."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import get_session, hf_raise_for_status

        if path not in self.files([path], revision):
            return None
        url = hf_hub_url(self.repo_id, path, repo_type=REPO_TYPE, revision=revision, endpoint=self.endpoint)
        answer = get_session().get(url, headers=self.headers())
        hf_raise_for_status(answer)
        return answer.content

    def xet(self) -> XetAccess | None:
        """How content goes over Xet; None where this Hub has none, or HF_HUB_DISABLE_XET forbids it."""
        from huggingface_hub.utils import get_session

        if self._xet_forbidden:
            return None
        url = f"{self.endpoint}/api/{REPO_TYPE}s/{self.repo_id}/xet-write-token/{BRANCH}"
        answer = get_session().get(url, headers=self.headers())
        if answer.status_code in _NO_ROUTE:
            return None
        cas_url, token, expires = _fields(answer, "casUrl", "accessToken", "exp")
        return XetAccess(cas_url, token, int(expires), url)

    def commit(
        self,
        files: Iterable[RemoteFile],
        deleted: Iterable[str],
        parent: str,
        message: str,
        contents: Mapping[str, bytes] | None = None,
    ) -> tuple[str, str]:
        """Commit on top of `parent` and nothing else. Returns the commit's oid and the URL that opens it.

        The route and its lines: huggingface_hub issue 1085.

        Args:
            files: what to name, by SHA-256; the Hub must hold the content.
            contents: small files by path, given whole.
        """
        from huggingface_hub.utils import get_session

        header = {"summary": message, "description": "", "parentCommit": parent}
        lines: list[tuple[str, dict[str, Any]]] = [("header", header)]
        for path, data in (contents or {}).items():
            encoded = base64.b64encode(data).decode()
            lines.append(("file", {"path": path, "content": encoded, "encoding": "base64"}))
        for file in files:
            lines.append(("lfsFile", {"path": file.path, "algo": "sha256", "oid": file.sha256, "size": file.size}))
        lines += [("deletedFile", {"path": path}) for path in deleted]
        body = "".join(json.dumps({"key": key, "value": value}) + "\n" for key, value in lines).encode()
        session = get_session()
        answer = session.post(
            f"{self.endpoint}/api/{REPO_TYPE}s/{self.repo_id}/commit/{BRANCH}",
            headers={**self.headers(), "Content-Type": "application/x-ndjson"},
            # requests (0.x) and httpx call it differently
            **{"data" if type(session).__module__.startswith("requests") else "content": body},
        )
        oid, commit_url = _fields(answer, "commitOid", "commitUrl")
        return oid, commit_url

    def holds(self, files: Iterable[RemoteFile]) -> bool:
        """Whether the Hub has this content: Git LFS's batch API names an upload for what it lacks."""
        from huggingface_hub.utils import get_session

        objects = [{"oid": file.sha256, "size": file.size} for file in files]
        answer = get_session().post(
            f"{self.dataset}.git/info/lfs/objects/batch",
            headers={**self.headers(), "Accept": _LFS_JSON, "Content-Type": _LFS_JSON},
            json={"operation": "upload", "transfers": ["basic"], "hash_algo": "sha256", "objects": objects},
        )
        [found] = _fields(answer, "objects")
        return not any("upload" in one.get("actions", {}) for one in found)

    def commit_contents(self, contents: Mapping[str, bytes], parent: str, message: str) -> tuple[str, str]:
        """Commit the card and its picture, given whole: huggingface_hub has the Hub check the card's YAML first.

        Raises:
            ValueError: the Hub refuses the YAML.
            HeadMoved: somebody else has committed the same meanwhile.
        """
        from huggingface_hub import CommitOperationAdd

        operations = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=data) for path, data in contents.items()]
        with lfs_only():
            info = self.api.create_commit(
                self.repo_id,
                operations,
                commit_message=message,
                repo_type=REPO_TYPE,
                revision=BRANCH,
                parent_commit=parent,
            )
        # The library leaves out what the branch holds by now; with nothing left it answers with the branch's newest
        # commit, which may be anybody's.
        if not any(getattr(operation, "_is_committed", True) for operation in operations):
            raise HeadMoved
        return info.oid, info.commit_url

    @property
    def dataset(self) -> str:
        """The repo's address, by which a build record names where its content went."""
        return f"{self.endpoint}/datasets/{self.repo_id}"

    def commit_url(self, oid: str) -> str:
        """The page of a commit."""
        return f"{self.dataset}/commit/{oid}"

    def headers(self) -> dict[str, str]:
        """What every request carries, the token included."""
        from huggingface_hub.utils import build_hf_headers

        return build_hf_headers(token=self.api.token, library_name="r2_hf_assets")


@contextmanager
def lfs_only() -> Iterator[None]:
    """Have huggingface_hub upload over LFS: those requests are bounded (timeouts.py), its Xet session's are not."""
    from huggingface_hub import constants

    before, constants.HF_HUB_DISABLE_XET = constants.HF_HUB_DISABLE_XET, True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET = before


def _fields(answer: Any, *names: str) -> list[Any]:
    """These fields of an answer. Raises JSONDecodeError where one is absent, as for a page that is no JSON."""
    from huggingface_hub.utils import hf_raise_for_status

    hf_raise_for_status(answer)
    given = answer.json()
    if not isinstance(given, dict) or not given.keys() >= set(names):
        raise json.JSONDecodeError(f"an answer without {', '.join(names)}", answer.text[:200], 0)
    return [given[name] for name in names]


def _by_path(listed: Iterable[Any]) -> dict[str, RemoteFile]:
    return {
        info.path: RemoteFile(info.path, info.size, info.lfs.sha256 if info.lfs else None, info.blob_id)
        for info in listed
        if hasattr(info, "blob_id")  # a folder has none
    }
