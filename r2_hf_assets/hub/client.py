"""Make every request to one dataset repo, by huggingface_hub's public API where it has one.

Only `call_with_retry` retries. `commit` uses the Hub's documented route with huggingface_hub's session, headers and
errors: it names content that the Hub already stores by SHA-256 and size, while `create_commit` needs local files.
Timeouts are set in timeouts.py and upload_xet.py.

huggingface_hub is imported when a client is created: HF_HUB_ENABLE_HF_TRANSFER=1 requests speed, which 1.0 and later
read as HF_XET_HIGH_PERFORMANCE=1 at import, while 0.36 uses hf_transfer.
"""

import base64
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, Literal

from r2_hf_assets import retry as retries
from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.errors import CONFLICT, NOT_FOUND, HeadReplaced, classify, explain, revision_is_gone, status_of
from r2_hf_assets.hub.timeouts import add_timeouts
from r2_hf_assets.retry import Retry, T
from r2_hf_assets.settings import HubSettings, is_enabled

if TYPE_CHECKING:
    from httpx2 import Response
    from huggingface_hub.hf_api import RepoFile, RepoFolder

REPO_TYPE = "dataset"
BRANCH = "main"
_NO_ROUTE = (NOT_FOUND, 405, 501)
_LFS_JSON = "application/vnd.git-lfs+json"
# The line of .gitattributes that puts Parquet files into LFS. The Hub reports a SHA-256 only of files in LFS.
LFS_ATTRIBUTES = "*.parquet filter=lfs diff=lfs merge=lfs -text"


@dataclass(frozen=True)
class RemoteFile:
    """A file at a revision, or one to commit. `size` in bytes; `sha256` is None for a file outside LFS."""

    path: str
    size: int
    sha256: str | None


@dataclass(frozen=True)
class XetAccess:
    """The content store of a repo's Xet uploads, and the token for it; `expires` in Unix seconds."""

    endpoint: str
    token: str
    expires: int
    refresh_url: str


@dataclass(frozen=True)
class Ref:
    """A name for a commit; `name` is the tag, the branch, or the number of the pull request.

    The dataset viewer's branches have their full names, e.g. refs/convert/parquet.
    """

    kind: Literal["branch", "tag", "pull_request"]
    name: str
    revision: str


@dataclass(frozen=True)
class Revision:
    """A commit in the history of the repo."""

    oid: str
    title: str
    date: datetime


class TagTaken(R2HfError):
    """The tag names another revision."""


class HubClient:
    """One dataset repo. `log` is called with a line for each retry; `retry` is COMMIT_RETRY when None."""

    def __init__(
        self, settings: HubSettings, log: Callable[[str], None] | None = None, retry: Retry | None = None
    ) -> None:
        if settings.fast_transfer:
            os.environ.setdefault("HF_XET_HIGH_PERFORMANCE", "1")
        from huggingface_hub import HfApi, constants
        from huggingface_hub.utils import disable_progress_bars

        if "HF_HUB_DISABLE_PROGRESS_BARS" not in os.environ:
            disable_progress_bars()  # they would fill the run's captured stderr
        add_timeouts()
        self.log, self.retry = log, retry or retries.COMMIT_RETRY
        self.repo_id, self.endpoint = settings.repo_id, settings.endpoint
        self.dataset = f"{self.endpoint}/datasets/{self.repo_id}"  # a build record names the store of its content by it
        self._api_url = f"{self.endpoint}/api/datasets/{self.repo_id}"
        self.fast = is_enabled("HF_XET_HIGH_PERFORMANCE")
        self._xet_disabled = constants.HF_HUB_DISABLE_XET
        self._private = settings.private
        self.api = HfApi(endpoint=settings.endpoint, token=settings.token, library_name="r2_hf_assets")

    def call_with_retry(self, what: str, call: Callable[[], T], retry: Retry | None = None) -> T:
        """Return the result of `call`, retried after transient errors. `what` names it in messages, e.g. "commit to".

        Raises AccessError if the Hub refuses the token, the repo or the quota, and RetriesExhausted.
        """
        policy = replace(retry, sleep=self.retry.sleep) if retry else self.retry
        try:
            return policy.call(f"{what} {self.repo_id}", call, classify, self.log)
        except Exception as error:
            if refusal := explain(error, self.repo_id):
                raise refusal from None
            raise

    def call_on_head(self, what: str, attempt: Callable[[], T], retry: Retry | None = None) -> T:
        """Call as `call_with_retry` an attempt that begins by reading the head; again, too, if a squash drops it."""

        def call() -> T:
            try:
                return attempt()
            except Exception as error:
                if revision_is_gone(error):
                    raise HeadReplaced from error
                raise

        return self.call_with_retry(what, call, retry)

    def head(self) -> str | None:
        """Return the commit of main, None when the repo does not exist."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            # Without `expand` the response lists all files.
            return self.api.dataset_info(self.repo_id, revision=BRANCH, expand=["sha"]).sha
        except RepositoryNotFoundError as error:
            if status_of(error) != NOT_FOUND:
                raise  # a 401 or 403: an expired token, a gated repo
            return None

    def create_repo(self) -> None:
        """Create the repo if it is missing."""
        self.api.create_repo(self.repo_id, repo_type=REPO_TYPE, private=self._private, exist_ok=True)

    def files(self, paths: Sequence[str], revision: str) -> dict[str, RemoteFile]:
        """Return those of `paths` that exist at `revision`."""
        return _by_path(self.api.get_paths_info(self.repo_id, list(paths), repo_type=REPO_TYPE, revision=revision))

    def list_files(self, folder: str, revision: str) -> dict[str, RemoteFile]:
        """Return every file below `folder` at `revision`. One request lists a thousand files."""
        from huggingface_hub.errors import EntryNotFoundError

        tree = self.api.list_repo_tree(self.repo_id, folder, recursive=True, revision=revision, repo_type=REPO_TYPE)
        try:
            return _by_path(tree)
        except EntryNotFoundError:
            return {}

    def read(self, path: str, revision: str, first: int = 0) -> bytes | None:
        """Return the content of a small file at `revision`, from byte `first` on; None when it does not exist."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.errors import EntryNotFoundError

        url = hf_hub_url(self.repo_id, path, repo_type=REPO_TYPE, revision=revision, endpoint=self.endpoint)
        try:
            return self._request("GET", url, {"Range": f"bytes={first}-"} if first else None).content
        except EntryNotFoundError:
            return None

    def open_file(self, path: str, revision: str) -> IO[bytes]:
        """Open a file for range reads, without a cache."""
        from huggingface_hub import HfFileSystem

        hub = HfFileSystem(endpoint=self.endpoint, token=self.api.token, skip_instance_cache=True)
        file: IO[bytes] = hub.open(f"datasets/{self.repo_id}@{revision}/{path}", "rb", cache_type="none")
        return file

    def xet(self) -> XetAccess | None:
        """Return access to the content store; None on a Hub without Xet, or with HF_HUB_DISABLE_XET."""
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
        """Commit if the head is `parent`; return the commit's oid and URL.

        `files` are LFS pointers, whose content the Hub must store already, and `contents` are small files, by path.
        huggingface_hub issue 1085 describes the route.
        """
        lines: list[tuple[str, dict[str, Any]]]
        lines = [("header", {"summary": message, "description": "", "parentCommit": parent})]
        for path, data in (contents or {}).items():
            lines.append(("file", {"path": path, "content": base64.b64encode(data).decode(), "encoding": "base64"}))
        lines += [("lfsFile", {"path": f.path, "algo": "sha256", "oid": f.sha256, "size": f.size}) for f in files]
        lines += [("deletedFile", {"path": path}) for path in deleted]
        body = "".join(json.dumps({"key": key, "value": value}) + "\n" for key, value in lines)
        headers = {"Content-Type": "application/x-ndjson"}
        route = f"{self._api_url}/commit/{BRANCH}"
        oid, url = _fields(self._request("POST", route, headers, body), "commitOid", "commitUrl")
        return oid, url

    def create_tag(self, tag: str, revision: str, message: str) -> None:
        """Tag the commit `revision`. Raises TagTaken if the tag names another commit; the same again is no error."""
        from huggingface_hub.errors import HfHubHTTPError

        try:
            self.api.create_tag(self.repo_id, tag=tag, tag_message=message, revision=revision, repo_type=REPO_TYPE)
        except HfHubHTTPError as error:
            if status_of(error) != CONFLICT:
                raise
            tagged = self.api.dataset_info(self.repo_id, revision=tag, expand=["sha"]).sha
            if tagged != revision:
                raise TagTaken(f"tag {tag} of {self.repo_id} is commit {tagged}, not {revision}") from None

    def refs(self) -> tuple[Ref, ...]:
        """Return the branches, the tags and the pull requests."""
        refs = self.api.list_repo_refs(self.repo_id, repo_type=REPO_TYPE, include_pull_requests=True)
        branches = [Ref("branch", ref.name, ref.target_commit) for ref in refs.branches]
        branches += [Ref("branch", ref.ref, ref.target_commit) for ref in refs.converts]
        tags = [Ref("tag", ref.name, ref.target_commit) for ref in refs.tags]
        requests = [Ref("pull_request", ref.name, ref.target_commit) for ref in refs.pull_requests or ()]
        return *branches, *tags, *requests

    def commits(self, revision: str) -> list[Revision]:
        """Return the history of `revision`, newest first. One request lists fifty commits."""
        history = self.api.list_repo_commits(self.repo_id, repo_type=REPO_TYPE, revision=revision)
        return [Revision(commit.commit_id, commit.title, commit.created_at) for commit in history]

    def has_content(self, files: Sequence[RemoteFile]) -> bool:
        """Return whether the Hub stores this content: Git LFS's batch API lists an upload action for absent content."""
        objects = [{"oid": file.sha256, "size": file.size} for file in files]
        query = {"operation": "upload", "transfers": ["basic"], "hash_algo": "sha256", "objects": objects}
        headers = {"Accept": _LFS_JSON, "Content-Type": _LFS_JSON}
        response = self._request("POST", f"{self.dataset}.git/info/lfs/objects/batch", headers, json.dumps(query))
        return not any("upload" in one.get("actions", {}) for one in _fields(response, "objects")[0])

    def validate_card(self, card: bytes) -> str:
        """Return the errors of the Hub's validation of a card's YAML, "" when it is valid."""
        from huggingface_hub.errors import BadRequestError

        query, headers = {"repoType": REPO_TYPE, "content": card.decode()}, {"Content-Type": "application/json"}
        try:
            self._request("POST", f"{self.endpoint}/api/validate-yaml", headers, json.dumps(query))
        except BadRequestError as error:
            return " ".join("; ".join(one["message"] for one in error.response.json()["errors"]).split())
        return ""

    def commit_url(self, oid: str) -> str:
        return f"{self.dataset}/commit/{oid}"

    def headers(self) -> dict[str, str]:
        """Return the headers for a request, with the token."""
        from huggingface_hub.utils import build_hf_headers

        return build_hf_headers(token=self.api.token, library_name="r2_hf_assets")

    def _request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: str | None = None
    ) -> "Response":
        """Send a request. Raises HfHubHTTPError for a status of 400 and above."""
        from huggingface_hub.utils import get_session, hf_raise_for_status

        session: Any = get_session()  # of requests (0.x) or httpx
        name = "data" if type(session).__module__.startswith("requests") else "content"
        response: Response = session.request(method, url, headers={**self.headers(), **(headers or {})}, **{name: body})
        hf_raise_for_status(response)
        return response


def _fields(response: "Response", *names: str) -> list[Any]:
    """Return fields of a JSON response. Raises JSONDecodeError if one is absent, as for a response without JSON."""
    fields = response.json()
    if not isinstance(fields, dict) or not fields.keys() >= set(names):
        raise json.JSONDecodeError(f"a response without {', '.join(names)}", response.text[:200], 0)
    return [fields[name] for name in names]


def _by_path(listed: "Iterable[RepoFile | RepoFolder]") -> dict[str, RemoteFile]:
    from huggingface_hub.hf_api import RepoFile

    files = [info for info in listed if isinstance(info, RepoFile)]
    return {file.path: RemoteFile(file.path, file.size, file.lfs.sha256 if file.lfs else None) for file in files}
