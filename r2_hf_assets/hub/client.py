"""The dataset repo through huggingface_hub's public API: the few calls a commit needs, and which of their errors may
pass.

huggingface_hub is imported when a client is made, not before: HF_HUB_ENABLE_HF_TRANSFER=1 means "go fast", which 1.0
and later read as HF_XET_HIGH_PERFORMANCE=1 at import, while 0.36 has hf_transfer itself. The same calls work on both.
Whether Xet or plain LFS carries the bytes is the library's choice (HF_HUB_DISABLE_XET=1: LFS), except that a Hub
without Xet is noticed here. How long the Hub may be silent stands in timeouts.py and transfer.py.
"""

import importlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from r2_hf_assets.disk import disk_error
from r2_hf_assets.errors import AccessError, DamagedShard
from r2_hf_assets.hub.hf_transfer_child import use_a_child
from r2_hf_assets.hub.timeouts import bound_requests
from r2_hf_assets.hub.transfer import bound_xet, watched
from r2_hf_assets.memory import release
from r2_hf_assets.retry import STATUSES, Trouble, status_trouble
from r2_hf_assets.settings import HubSettings

# What hf_xet holds in memory are xorbs of 64 MB, raw and packed, for every upload stream. Its own default of 64 streams
# takes over a gigabyte on a fast line; two take 250 MB, and still fill a line of 1 Gbit/s.
_XET_BOUNDS = {"HF_XET_CLIENT_AC_MAX_UPLOAD_CONCURRENCY": "2", "HF_XET_DATA_MAX_CONCURRENT_FILE_INGESTION": "1"}

_REPO_TYPE = "dataset"
_BRANCH = "main"
_NOT_FOUND = 404
_RATE_LIMITED = 429
_HTTP_CLIENTS = {
    "httpx2": ("TransportError",),  # 2.x
    "httpx": ("TransportError",),  # 1.x
    "requests.exceptions": ("ConnectionError", "Timeout", "ChunkedEncodingError"),  # 0.x
}


@dataclass(frozen=True)
class RemoteFile:
    """A file at a revision. `sha256` is None for a small file that git itself holds; `blob_id` is git's SHA-1 of it."""

    path: str
    size: int
    sha256: str | None
    blob_id: str = ""


@dataclass
class Upload:
    """A file whose content is on the Hub, ready to be named by a commit."""

    path: str
    operation: Any


class HubClient:
    """One dataset repo. Every method makes the requests it names and retries nothing itself."""

    def __init__(self, settings: HubSettings) -> None:
        if settings.fast_transfer:
            os.environ.setdefault("HF_XET_HIGH_PERFORMANCE", "1")
        else:
            for name, value in _XET_BOUNDS.items():
                os.environ.setdefault(name, value)
        # No progress bars: they would fill the run's captured stderr. The variable is for a library that is not yet
        # imported, the call for one that is.
        quiet = os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        from huggingface_hub import HfApi
        from huggingface_hub.utils import disable_progress_bars

        if quiet.upper() in ("1", "ON", "YES", "TRUE"):
            disable_progress_bars()
        bound_requests()
        bound_xet()
        use_a_child()
        self.repo_id = settings.repo_id
        self.endpoint = settings.endpoint
        self._private = settings.private
        self._api = HfApi(endpoint=settings.endpoint, token=settings.token, library_name="r2_hf_assets")

    def head(self) -> str | None:
        """The commit main is at; None when there is no such repo.

        The library says RepositoryNotFoundError of a 401 and a 403 as well: of a token that expired, or a repo behind a
        gate. Only a 404 says that there is none.
        """
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            # The commit alone: the answer has the names of all files otherwise.
            return self._api.dataset_info(self.repo_id, revision=_BRANCH, expand=["sha"]).sha
        except RepositoryNotFoundError as error:
            if error.response is not None and error.response.status_code == _NOT_FOUND:
                return None
            raise

    def create_repo(self) -> None:
        """Make the repo; nothing when it is there already."""
        self._api.create_repo(self.repo_id, repo_type=_REPO_TYPE, private=self._private, exist_ok=True)

    def files(self, paths: Sequence[str], revision: str) -> dict[str, RemoteFile]:
        """Those of `paths` that exist at `revision`."""
        return _by_path(self._api.get_paths_info(self.repo_id, list(paths), repo_type=_REPO_TYPE, revision=revision))

    def list_files(self, folder: str, revision: str) -> dict[str, RemoteFile]:
        """Every file below `folder` at `revision`: a request for each thousand."""
        from huggingface_hub.errors import EntryNotFoundError

        try:
            return _by_path(
                self._api.list_repo_tree(self.repo_id, folder, recursive=True, revision=revision, repo_type=_REPO_TYPE)
            )
        except EntryNotFoundError:
            return {}

    def read(self, path: str, revision: str) -> bytes | None:
        """The content of a small file at `revision`; None when it is not there."""
        from huggingface_hub.errors import LocalEntryNotFoundError

        # Asked first: a download that fails for the network says "entry not found" as well.
        if path not in self.files([path], revision):
            return None
        with tempfile.TemporaryDirectory() as folder:
            try:
                download = partial(self._api.hf_hub_download, repo_type=_REPO_TYPE, revision=revision)
                local = watched(lambda: download(self.repo_id, path, local_dir=folder))
            except LocalEntryNotFoundError as error:
                raise error.__cause__ or ConnectionError(f"{path} can't be fetched") from error
            return Path(local).read_bytes()

    def upload(self, files: Iterable[tuple[str, Path]]) -> list[Upload]:
        """Bring the content of (path in repo, local file) to the Hub. Nothing becomes visible; repeating it sends
        nothing twice.

        One file after the other: hf_xet would begin with the next while blocks of the one before still wait for the
        line, so a chunk of several parts would take more memory than one part.
        """
        from huggingface_hub import CommitOperationAdd

        operations = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=str(local)) for path, local in files]
        with self._without_xet_if_the_hub_has_none():
            for operation in operations:
                send = partial(self._api.preupload_lfs_files, repo_type=_REPO_TYPE, revision=_BRANCH, free_memory=False)
                watched(partial(send, self.repo_id, [operation]), operation.upload_info.size)
                release()
        return [Upload(operation.path_in_repo, operation) for operation in operations]

    @contextmanager
    def _without_xet_if_the_hub_has_none(self) -> Iterator[None]:
        """Notice a Hub without Xet: since 1.0 the library does not ask, and fails where there are no Xet tokens."""
        from huggingface_hub import constants
        from huggingface_hub.utils import build_hf_headers, get_session

        disabled = constants.HF_HUB_DISABLE_XET
        if not disabled:
            url = f"{self.endpoint}/api/{_REPO_TYPE}s/{self.repo_id}/xet-write-token/{_BRANCH}"
            answer = get_session().get(url, headers=build_hf_headers(token=self._api.token))
            constants.HF_HUB_DISABLE_XET = answer.status_code == _NOT_FOUND
        try:
            yield
        finally:
            constants.HF_HUB_DISABLE_XET = disabled

    def check(self, upload: Upload, sha256: str) -> None:
        """Raise DamagedShard unless what was uploaded is what was built."""
        sent = upload.operation.upload_info.sha256.hex()
        if sent != sha256:
            raise DamagedShard(f"{upload.path}: the file changed since it was built; run again, it is built anew")

    def commit(
        self,
        uploads: Iterable[Upload],
        deleted: Iterable[str],
        parent: str,
        message: str,
        contents: Mapping[str, bytes] | None = None,
    ) -> tuple[str, str]:
        """Commit on top of `parent` and nothing else. Returns the commit's oid and the URL that opens it.

        What follows the first line of `message` becomes the commit's description.

        Args:
            contents: small files by path, given whole.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        added = [upload.operation for upload in uploads]
        added += [CommitOperationAdd(path_in_repo=p, path_or_fileobj=data) for p, data in (contents or {}).items()]
        removed = [CommitOperationDelete(path_in_repo=path) for path in deleted]
        title, _, description = message.partition("\n\n")
        info = self._api.create_commit(
            self.repo_id,
            [*added, *removed],
            commit_message=title,
            commit_description=description,
            repo_type=_REPO_TYPE,
            revision=_BRANCH,
            parent_commit=parent,
        )
        # The library leaves out what the branch holds by now; with nothing left it answers with the branch's newest
        # commit, which may be anybody's.
        if not removed and not any(getattr(operation, "_is_committed", True) for operation in added):
            raise HeadMoved
        return info.oid, info.commit_url

    def commit_url(self, oid: str) -> str:
        """The page of a commit."""
        return f"{self.endpoint}/datasets/{self.repo_id}/commit/{oid}"


def _by_path(listed: Iterable[Any]) -> dict[str, RemoteFile]:
    return {
        info.path: RemoteFile(info.path, info.size, info.lfs.sha256 if info.lfs else None, info.blob_id)
        for info in listed
        if hasattr(info, "blob_id")  # a folder has none
    }


class HeadMoved(Exception):
    """Somebody else has committed the same content meanwhile."""


class NotVisibleYet(Exception):
    """A repo that was just made does not show yet."""


def classify(error: BaseException) -> Trouble | None:
    """Which errors of huggingface_hub may pass: statuses by retry's table, transport errors of its HTTP client.

    A 429 is a quota: of commits an hour, or of requests in five minutes.
    """
    from huggingface_hub.errors import HfHubHTTPError

    response = getattr(error, "response", None)
    if isinstance(error, HfHubHTTPError) and response is not None:
        trouble = status_trouble(response.status_code, response.headers)
        return trouble and replace(trouble, quota=response.status_code == _RATE_LIMITED)
    if isinstance(error, NotVisibleYet):
        return Trouble("the new repo does not show yet")
    if isinstance(error, HeadMoved):
        return Trouble(STATUSES[412])
    if isinstance(error, json.JSONDecodeError):
        return Trouble("the Hub's answer can't be read")  # a proxy's page: validate-yaml is read whatever the status
    if isinstance(error, _transport_errors()):
        return Trouble(f"the Hub can't be reached ({type(error).__name__})")
    if disk_error(error, ""):
        return None
    # preupload wraps what an LFS transfer raised; hf_xet reports a broken transfer as RuntimeError or OSError of its
    # own.
    if isinstance(error, RuntimeError | ConnectionError | TimeoutError):
        cause = error.__cause__
        return classify(cause) if cause is not None else Trouble(f"the transfer broke off ({_said(error)})")
    return None


def _said(error: BaseException) -> str:
    """An error in one line, without the query of a URL, which may be signed."""
    first_line = (str(error).splitlines() or [""])[0]
    return re.sub(r"\?\S*", "", first_line)[:200] or type(error).__name__


def _transport_errors() -> tuple[type[BaseException], ...]:
    """Bases of the transport errors of the HTTP clients that releases of huggingface_hub have used."""
    found: list[type[BaseException]] = []
    for module, names in _HTTP_CLIENTS.items():
        try:
            client = importlib.import_module(module)
        except ImportError:
            continue
        found += [getattr(client, name) for name in names]
    return tuple(found)


def explain(error: BaseException, repo_id: str) -> AccessError | None:
    """A refusal by the Hub as one line that says what to do; None when the error is something else."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, RuntimeError) and error.__cause__ is not None:
        return explain(error.__cause__, repo_id)
    response = getattr(error, "response", None)
    if not isinstance(error, HfHubHTTPError) or response is None:
        return None
    advice = {
        401: "the token is missing, wrong or revoked; set HF_TOKEN to a valid one",
        402: "the storage quota is used up; free space or upgrade the account",
        403: "the token may not write here; use one with write access to the repo",
        404: "there is no such repo; check HF_REPO_ID and that the token may see it",
    }.get(response.status_code, f"it answers HTTP {response.status_code}")
    return AccessError(f"the Hub refuses {repo_id}: {advice}")
