"""The local Hub's routes for storage: list the LFS objects of a repository, and delete some for good.

The list has every object that was pushed to the repository: of all revisions, of commits that no ref holds any more,
and of uploads that no commit names. Those have no filename and no ref, as on the real Hub.

A deletion removes the content unless another repository has the object. With `rewriteHistory` it also rewrites the
commits whose pointers name the object; without it the pointers stay, and the file is 404. The objects leave the list
last, so that a repeated deletion completes one that was killed.
"""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from r2_hf_sandbox.hub.disk import HubRefusal, iso
from r2_hf_sandbox.hub.history import MAIN
from r2_hf_sandbox.hub.repos import Repo
from r2_hf_sandbox.hub.web import Hub, hub_of, repo_of

FILES_PER_PAGE = 1000
MAX_DELETIONS = 1000  # of a request, as on the real Hub


def lfs_files(request: Request) -> Response:
    """Serve a page of the list, the newest push first."""
    repo = repo_of(request, write=True)
    listed = _listed(hub_of(request), repo)
    start = int(request.query_params.get("cursor", "0"))
    end = start + min(int(request.query_params.get("limit", FILES_PER_PAGE)), FILES_PER_PAGE)
    headers = {}
    if end < len(listed):
        headers["Link"] = f'<{request.url.include_query_params(cursor=end)}>; rel="next"'
    return JSONResponse(listed[start:end], headers=headers)


def _listed(hub: Hub, repo: Repo) -> list[dict[str, Any]]:
    named: dict[str, dict[str, Any]] = {}
    for commit in repo.commits:
        for path, file in commit.changes.items():
            if file and file.sha256 and file.sha256 not in named:
                ref = "main" if commit.ref == MAIN else commit.ref
                named[file.sha256] = {"filename": path, "ref": ref}
                named[file.sha256] |= {"xetHash": file.xet_hash} if file.xet_hash else {}
    return [
        {"fileOid": sha256, "oid": sha256, "size": size, "pushedAt": iso(pushed), **named.get(sha256, {})}
        for sha256, pushed in sorted(repo.objects().items(), key=lambda item: (item[1], item[0]), reverse=True)
        if (size := hub.content.size_of(sha256)) is not None
    ]


async def delete_lfs_files(request: Request) -> Response:
    repo = repo_of(request, write=True)
    deletions = (await request.json())["deletions"]
    sha256s = set(deletions["sha"])
    if not 0 < len(sha256s) <= MAX_DELETIONS:
        raise HubRefusal(400, f"deletions.sha must have 1 to {MAX_DELETIONS} items")
    await run_in_threadpool(_delete, hub_of(request), repo, sha256s, deletions.get("rewriteHistory", True))
    return JSONResponse({"success": True})


def _delete(hub: Hub, repo: Repo, sha256s: set[str], rewrite_history: bool) -> None:
    with repo.lock:
        held = sha256s & repo.objects().keys()
        if rewrite_history:
            repo.forget(held)
        hub.content.delete(hub.repos.unshared(repo, held))
        for sha256 in held:
            repo.drop_object(sha256)


REPO = "/api/datasets/{ns}/{name}"
ROUTES = [
    Route(REPO + "/lfs-files", lfs_files),
    Route(REPO + "/lfs-files/batch", delete_lfs_files, methods=["POST"]),
]
