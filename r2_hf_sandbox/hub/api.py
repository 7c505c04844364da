"""The local Hub's API routes for dataset repositories: create, delete, describe, preupload, commit, tokens.

Paths, fields and statuses are the real Hub's, as far as huggingface_hub (0.36 and 2.x) uses them. The routes of tags
and history are in releases.py, those that delete content for good in purge.py.
"""

import base64
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from r2_hf_sandbox.hub.commits import MAX_REGULAR_BYTES, card_metadata, is_binary, is_lfs_path, make_commit
from r2_hf_sandbox.hub.disk import HubRefusal
from r2_hf_sandbox.hub.history import MAIN, Commit, RepoFile
from r2_hf_sandbox.hub.repos import GITATTRIBUTES, Repo
from r2_hf_sandbox.hub.web import Hub, flag, hub_of, repo_of, require_writer, role_of, xet_token


async def create_repo(request: Request) -> Response:
    require_writer(request)
    options = await request.json()
    hub = hub_of(request)
    if options.get("type") != "dataset":
        raise HubRefusal(400, "this local Hub has datasets only: pass repo_type='dataset'")
    repo_id = _repo_id(hub, options)
    private = bool(options.get("private")) or options.get("visibility") == "private"
    blob = hub.content.put_blob(GITATTRIBUTES)
    first: dict[str, RepoFile | None] = {".gitattributes": RepoFile(".gitattributes", len(GITATTRIBUTES), blob)}
    repo = await run_in_threadpool(hub.repos.create, repo_id, private=private, author=hub.config.user, first=first)
    url = f"{hub.endpoint}/datasets/{repo_id}"
    if repo is None:
        return JSONResponse({"error": "You already created this dataset repo", "url": url}, 409)
    return JSONResponse({"url": url, "name": repo_id, "id": repo.internal_id})


async def delete_repo(request: Request) -> Response:
    require_writer(request)
    hub = hub_of(request)
    repo_id = _repo_id(hub, await request.json())
    if hub.repos.get(repo_id) is None:
        raise HubRefusal(404, "Repository not found", "RepoNotFound")
    await run_in_threadpool(hub.repos.delete, repo_id)
    return Response("OK")


def _repo_id(hub: Hub, options: dict[str, Any]) -> str:
    return f"{options.get('organization') or hub.config.user}/{options['name']}"


async def whoami(request: Request) -> Response:
    role = role_of(request)
    if role is None:
        raise HubRefusal(401, "Invalid username or password.")
    user = hub_of(request).config.user
    token = {"displayName": f"sandbox-{role}", "role": role}
    return JSONResponse(
        {"type": "user", "id": user, "name": user, "fullname": user, "orgs": []}
        | {"auth": {"type": "access_token", "accessToken": token}}
    )


async def validate_yaml(request: Request) -> Response:
    content = (await request.json()).get("content", "")
    try:
        card_metadata(content.encode(errors="replace"))
    except HubRefusal as refusal:
        return JSONResponse({"errors": [{"message": refusal.message}], "warnings": []}, 400)
    return JSONResponse({"errors": [], "warnings": []})


def repo_info(request: Request) -> Response:
    repo = repo_of(request)
    commit = repo.resolve(request.path_params.get("rev", "main"))
    info = _info(request, repo, commit)
    if expand := request.query_params.getlist("expand"):
        info = {key: value for key, value in info.items() if key in ("_id", "id", *expand)}
    return JSONResponse(info)


def _info(request: Request, repo: Repo, commit: Commit) -> dict[str, Any]:
    tree = repo.tree(commit)
    readme = tree.get("README.md")
    card = card_metadata(hub_of(request).content.path_of(readme).read_bytes()) if readme else {}
    siblings: list[dict[str, Any]] = []
    for path, file in sorted(tree.items()):
        entry = file.as_json()
        siblings.append({"rfilename": path})
        if request.query_params.get("blobs"):
            siblings[-1] |= {"size": file.size, "blobId": file.oid}
            if "lfs" in entry:
                pointer_size = entry["lfs"]["pointerSize"]
                siblings[-1]["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": pointer_size}
    return {
        "_id": repo.internal_id,
        "id": repo.repo_id,
        "author": repo.repo_id.partition("/")[0],
        "sha": commit.oid,
        "createdAt": repo.created,
        "lastModified": commit.date,
        "private": repo.private,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [f"{key}:{value}" for key, value in card.items() if isinstance(value, str)],
        "cardData": card,
        "siblings": siblings,
        "usedStorage": sum(file.size for file in tree.values()),
        "xetEnabled": hub_of(request).config.xet,
    }


async def preupload(request: Request) -> Response:
    repo = repo_of(request, write=True)
    body = await request.json()
    tree = repo.tree(repo.resolve(request.path_params["rev"]))
    rules = tree.get(".gitattributes")
    gitattributes = hub_of(request).content.path_of(rules).read_text() if rules else ""
    files = []
    for file in body["files"]:
        sample = base64.b64decode(file.get("sample") or "")
        large = is_lfs_path(gitattributes, file["path"]) or file["size"] > MAX_REGULAR_BYTES or is_binary(sample)
        entry = {"path": file["path"], "uploadMode": "lfs" if large and file["size"] else "regular"}
        existing = tree.get(file["path"])
        known = {"oid": existing.content_id} if existing and repo.has_content(existing) else {}
        files.append(entry | {"shouldIgnore": False} | known)
    return JSONResponse({"files": files, "commitOid": repo.head.oid})


async def commit(request: Request) -> Response:
    repo = repo_of(request, write=True)
    revision: str = request.path_params["rev"]
    if revision != "main" and revision not in repo.pull_requests:
        raise HubRefusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    ref = None if flag(request.query_params.get("create_pr")) else MAIN if revision == "main" else revision
    hub = hub_of(request)
    created = await run_in_threadpool(make_commit, repo, hub.content, await request.body(), hub.config.user, ref)
    page = f"{hub.endpoint}/datasets/{repo.repo_id}"
    made = {"success": True, "commitUrl": f"{page}/commit/{created.oid}", "commitOid": created.oid, "hookOutput": ""}
    if ref is None:
        made["pullRequestUrl"] = f"{page}/discussions/{created.ref.rpartition('/')[2]}"
    return JSONResponse(made)


def xet_token_route(request: Request) -> Response:
    kind = request.path_params["kind"]
    repo = repo_of(request, write=kind == "write")
    hub = hub_of(request)
    if not hub.config.xet:
        raise HubRefusal(404, "Not found")
    token, expires = xet_token(hub.config, kind, repo.internal_id)
    headers = {
        "X-Xet-Cas-Url": hub.cas_url,
        "X-Xet-Access-Token": token,
        "X-Xet-Token-Expiration": str(expires),
    }
    return JSONResponse({"casUrl": hub.cas_url, "accessToken": token, "exp": expires}, headers=headers)


REPO = "/api/datasets/{ns}/{name}"
ROUTES = [
    Route("/api/repos/create", create_repo, methods=["POST"]),
    Route("/api/repos/delete", delete_repo, methods=["DELETE"]),
    Route("/api/whoami-v2", whoami),
    Route("/api/validate-yaml", validate_yaml, methods=["POST"]),
    Route(REPO, repo_info),
    Route(REPO + "/revision/{rev:path}", repo_info),
    Route(REPO + "/preupload/{rev:path}", preupload, methods=["POST"]),
    Route(REPO + "/commit/{rev:path}", commit, methods=["POST"]),
    Route(REPO + "/xet-{kind}-token/{rev:path}", xet_token_route),
]
