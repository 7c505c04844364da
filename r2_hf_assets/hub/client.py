"""Make every request to one dataset repo, by huggingface_hub's public API where it has one.

`call_with_retry` repeats calls after transient errors; no other method retries. `commit` uses the Hub's documented
route with huggingface_hub's session, headers and errors: the content is on the Hub already and is named by SHA-256 and
size, while `create_commit` needs local files. Timeouts are set in timeouts.py and upload_xet.py.

huggingface_hub is imported when a client is made, not before: HF_HUB_ENABLE_HF_TRANSFER=1 means "go fast", which 1.0
and later read as HF_XET_HIGH_PERFORMANCE=1 at import, while 0.36 uses hf_transfer.
"""

import base64
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

from r2_hf_assets import retry as retries
from r2_hf_assets.hub.errors import NOT_FOUND, classify, explain, status_of
from r2_hf_assets.hub.timeouts import bound_requests
from r2_hf_assets.retry import Retry, T
from r2_hf_assets.settings import HubSettings, is_enabled

if TYPE_CHECKING:
    from httpx2 import Response
    from huggingface_hub.hf_api import RepoFile, RepoFolder

REPO_TYPE = "dataset"
BRANCH = "main"
_NO_ROUTE = (NOT_FOUND, 405, 501)
_LFS_JSON = "application/vnd.git-lfs+json"
# The line of .gitattributes that puts our files into LFS. The Hub reports a SHA-256 only of files in LFS.
LFS_ATTRIBUTES = "*.parquet filter=lfs diff=lfs merge=lfs -text"


@dataclass(frozen=True)
class RemoteFile:
    """A file at a revision, or one to be committed. `size` in bytes; `sha256` is None for a file outside LFS."""

    path: str
    size: int
    sha256: str | None


@dataclass(frozen=True)
class XetAccess:
    """The content store that a repo's Xet uploads go to, and the token for it; `expires` in Unix seconds."""

    endpoint: str
    token: str
    expires: int
    refresh_url: str


class HubClient:
    """One dataset repo.

    Args:
        log: called with a line for each retry.
        retry: COMMIT_RETRY when None. Its `sleep` waits for calls with a policy of their own too.
    """

    def __init__(
        self, settings: HubSettings, log: Callable[[str], None] | None = None, retry: Retry | None = None
    ) -> None:
        if settings.fast_transfer:
            os.environ.setdefault("HF_XET_HIGH_PERFORMANCE", "1")
        from huggingface_hub import HfApi, constants
        from huggingface_hub.utils import disable_progress_bars

        if "HF_HUB_DISABLE_PROGRESS_BARS" not in os.environ:
            disable_progress_bars()  # they would fill the run's captured stderr
        bound_requests()
        self.log, self.retry = log, retry or retries.COMMIT_RETRY
        self.repo_id = settings.repo_id
        self.endpoint = settings.endpoint
        self.dataset = f"{self.endpoint}/datasets/{self.repo_id}"  # a build record names by it where its content went
        self._api_url = f"{self.endpoint}/api/datasets/{self.repo_id}"
        self.fast = is_enabled("HF_XET_HIGH_PERFORMANCE")
        self._xet_disabled = constants.HF_HUB_DISABLE_XET
        self._private = settings.private
        self.api = HfApi(endpoint=settings.endpoint, token=settings.token, library_name="r2_hf_assets")

    def call_with_retry(self, what: str, call: Callable[[], T], retry: Retry | None = None) -> T:
        """Return the result of `call`, repeated after transient errors.

        Args:
            what: the operation, for messages, e.g. "commit to"; the repo's id follows it.

        Raises:
            AccessError: the Hub refuses the token, the repo or the quota; one line.
            RetriesExhausted: transient errors outlasted the retries.
        """
        policy = replace(retry, sleep=self.retry.sleep) if retry else self.retry
        try:
            return policy.call(f"{what} {self.repo_id}", call, classify, self.log)
        except Exception as error:
            refused = explain(error, self.repo_id)
            if refused is None:
                raise
            raise refused from None

    def head(self) -> str | None:
        """Return the commit that main is at, None when there is no such repo."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            # Without `expand` the response names all files.
            return self.api.dataset_info(self.repo_id, revision=BRANCH, expand=["sha"]).sha
        except RepositoryNotFoundError as error:
            if status_of(error) == NOT_FOUND:
                return None
            raise  # a 401 or 403: an expired token, a gated repo

    def create_repo(self) -> None:
        """Create the repo if it is missing."""
        self.api.create_repo(self.repo_id, repo_type=REPO_TYPE, private=self._private, exist_ok=True)

    def files(self, paths: Sequence[str], revision: str) -> dict[str, RemoteFile]:
        """Return those of `paths` that exist at `revision`."""
        return _by_path(self.api.get_paths_info(self.repo_id, list(paths), repo_type=REPO_TYPE, revision=revision))

    def list_files(self, folder: str, revision: str) -> dict[str, RemoteFile]:
        """Return every file below `folder` at `revision`, with one request a thousand files."""
        from huggingface_hub.errors import EntryNotFoundError

        tree = self.api.list_repo_tree(self.repo_id, folder, recursive=True, revision=revision, repo_type=REPO_TYPE)
        try:
            return _by_path(tree)
        except EntryNotFoundError:
            return {}

    def read(self, path: str, revision: str) -> bytes | None:
        """Return the content of a small file at `revision`, None when it is not there."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.errors import EntryNotFoundError

        url = hf_hub_url(self.repo_id, path, repo_type=REPO_TYPE, revision=revision, endpoint=self.endpoint)
        try:
            return self._request("GET", url).content
        except EntryNotFoundError:
            return None

    def open_file(self, path: str, revision: str) -> IO[bytes]:
        """Open a file for reads of ranges, without a cache."""
        from huggingface_hub import HfFileSystem

        hub = HfFileSystem(endpoint=self.endpoint, token=self.api.token, skip_instance_cache=True)
        file: IO[bytes] = hub.open(f"datasets/{self.repo_id}@{revision}/{path}", "rb", cache_type="none")
        return file

    def xet(self) -> XetAccess | None:
        """Return the access to the content store; None on a Hub without Xet, or with HF_HUB_DISABLE_XET."""
        if self._xet_disabled:
            return None
        url = f"{self._api_url}/xet-write-token/{BRANCH}"
        try:
            cas_url, token, expires = _fields(self._request("GET", url), "casUrl", "accessToken", "exp")
        except Exception as error:
            if status_of(error) in _NO_ROUTE:
                return None
            raise
        return XetAccess(cas_url, token, int(expires), url)

    def commit(
        self,
        files: Sequence[RemoteFile],
        deleted: Sequence[str],
        parent: str,
        message: str,
        contents: Mapping[str, bytes] | None = None,
    ) -> tuple[str, str]:
        """Commit on top of `parent` and no other head; return the commit's oid and URL.

        `files` are LFS pointers, whose content the Hub must hold, and `contents` are small files, by path. The route is
        described in huggingface_hub issue 1085.
        """
        header = {"summary": message, "description": "", "parentCommit": parent}
        lines: list[tuple[str, Mapping[str, object]]] = [("header", header)]
        for path, data in (contents or {}).items():
            encoded = base64.b64encode(data).decode()
            lines.append(("file", {"path": path, "content": encoded, "encoding": "base64"}))
        for file in files:
            lines.append(("lfsFile", {"path": file.path, "algo": "sha256", "oid": file.sha256, "size": file.size}))
        lines += [("deletedFile", {"path": path}) for path in deleted]
        body = "".join(json.dumps({"key": key, "value": value}) + "\n" for key, value in lines)
        headers = {"Content-Type": "application/x-ndjson"}
        response = self._request("POST", f"{self._api_url}/commit/{BRANCH}", headers, body)
        oid, url = _fields(response, "commitOid", "commitUrl")
        return oid, url

    def holds(self, files: Sequence[RemoteFile]) -> bool:
        """Return whether the Hub has this content: Git LFS's batch API lists an upload action for what it lacks."""
        objects = [{"oid": file.sha256, "size": file.size} for file in files]
        query = {"operation": "upload", "transfers": ["basic"], "hash_algo": "sha256", "objects": objects}
        headers = {"Accept": _LFS_JSON, "Content-Type": _LFS_JSON}
        response = self._request("POST", f"{self.dataset}.git/info/lfs/objects/batch", headers, json.dumps(query))
        [found] = _fields(response, "objects")
        return not any("upload" in one.get("actions", {}) for one in found)

    def validate_card(self, card: bytes) -> str:
        """Return what the Hub's validation finds wrong with a card's YAML, "" when it is valid."""
        from huggingface_hub.errors import BadRequestError

        query, headers = {"repoType": REPO_TYPE, "content": card.decode()}, {"Content-Type": "application/json"}
        try:
            self._request("POST", f"{self.endpoint}/api/validate-yaml", headers, json.dumps(query))
        except BadRequestError as error:
            return " ".join("; ".join(one["message"] for one in error.response.json()["errors"]).split())
        return ""

    def commit_url(self, oid: str) -> str:
        """Return the URL of a commit's page."""
        return f"{self.dataset}/commit/{oid}"

    def headers(self) -> dict[str, str]:
        """Return the headers of every request, with the token."""
        from huggingface_hub.utils import build_hf_headers

        headers: dict[str, str] = build_hf_headers(token=self.api.token, library_name="r2_hf_assets")
        return headers

    def _request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: str | None = None
    ) -> "Response":
        """Return the response. Raises HfHubHTTPError for a status of 400 and above."""
        from huggingface_hub.utils import get_session, hf_raise_for_status

        session: Any = get_session()  # of requests (0.x) or httpx
        name = "data" if type(session).__module__.startswith("requests") else "content"
        response: Response = session.request(method, url, headers={**self.headers(), **(headers or {})}, **{name: body})
        hf_raise_for_status(response)
        return response


def _fields(response: "Response", *names: str) -> list[Any]:
    """Return fields of a JSON response. Raises JSONDecodeError if one is absent, as for a page that is no JSON."""
    given = response.json()
    if not isinstance(given, dict) or not given.keys() >= set(names):
        raise json.JSONDecodeError(f"an answer without {', '.join(names)}", response.text[:200], 0)
    return [given[name] for name in names]


def _by_path(listed: "Iterable[RepoFile | RepoFolder]") -> dict[str, RemoteFile]:
    from huggingface_hub.hf_api import RepoFile

    files = [info for info in listed if isinstance(info, RepoFile)]
    return {file.path: RemoteFile(file.path, file.size, file.lfs.sha256 if file.lfs else None) for file in files}
