"""Free a repo's storage: squash its history, list what it stores, and delete stored files for good.

A commit that removes a file frees nothing, because older revisions still have it. After a squash no revision has it,
but the Hub stores its content until it is deleted by its SHA-256. A deletion can't be undone, so callers keep what any
ref still has (`HubClient.refs`). Callers repeat these functions by `call_with_retry`: each has the same effect when it
is called again.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.client import BRANCH, REPO_TYPE, HubClient

if TYPE_CHECKING:
    from huggingface_hub.hf_api import LFSFileInfo

_SHA256 = re.compile(r"[0-9a-f]{64}")


def squash_history(repo: HubClient, message: str) -> None:
    """Make main one commit of the files it has now. Tags and pull requests keep their older commits."""
    repo.api.super_squash_history(repo.repo_id, branch=BRANCH, commit_message=message, repo_type=REPO_TYPE)


def lfs_files(repo: HubClient) -> "dict[str, LFSFileInfo]":
    """Return every file that the repo stores by its SHA-256, also of uploads that were never committed.

    This is `HfApi.list_lfs_files`, which raises KeyError for a file without a name. Raises R2HfError for a file without
    a SHA-256, since it can't be told whether it is in use.
    """
    from huggingface_hub.hf_api import LFSFileInfo
    from huggingface_hub.utils import paginate

    url = f"{repo.endpoint}/api/{REPO_TYPE}s/{repo.repo_id}/lfs-files"
    files: dict[str, LFSFileInfo] = {}
    for item in paginate(url, params={}, headers=repo.headers()):
        info = LFSFileInfo(**{"filename": "", **item})
        # huggingface_hub documents file_oid as the SHA-256, and oid as the id of the LFS object, which is one too.
        sha256 = next(filter(_SHA256.fullmatch, (info.file_oid, info.oid)), None)
        if sha256 is None:
            name = info.filename or "a file"
            raise R2HfError(f"the Hub lists {name} in {repo.repo_id} without a SHA-256; nothing is deleted")
        files[sha256] = info
    return files


def delete_lfs_files(repo: HubClient, files: "Iterable[LFSFileInfo]") -> None:
    """Delete stored files for good, a thousand in a request. Those that are gone already are no error.

    The history is not rewritten, which would change the oid of every later commit: a revision that still has one of
    the files can't be read any more.
    """
    repo.api.permanently_delete_lfs_files(repo.repo_id, files, rewrite_history=False, repo_type=REPO_TYPE)
