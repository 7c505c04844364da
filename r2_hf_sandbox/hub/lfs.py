"""The local Hub's LFS routes: the batch, its signed upload URLs, and verification.

A batch lists sha256s and sizes. An object of the repository gets no action, the rest a signed PUT, or above
`lfs_part_bytes` the Hub's multipart upload: a `chunk_size` header, numbered part URLs, a completion POST. Complete
content is checked against its sha256 and size.
"""

import hashlib
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from r2_hf_sandbox.hub.commits import SHA256
from r2_hf_sandbox.hub.disk import HubRefusal, temporary_beside
from r2_hf_sandbox.hub.repos import Repo
from r2_hf_sandbox.hub.web import Hub, hub_of, repo_of, signature

LFS_JSON = "application/vnd.git-lfs+json"


async def batch(request: Request) -> Response:
    repo_of(request, write=True)
    hub = hub_of(request)
    body = await request.json()
    if body.get("operation") != "upload" or body.get("hash_algo", "sha256") != "sha256":
        raise HubRefusal(400, "only uploads by sha256 are served here")
    transfers = body.get("transfers", ["basic"])
    objects = [_object(request, entry["oid"], entry["size"], "multipart" in transfers) for entry in body["objects"]]
    multipart = any("header" in entry.get("actions", {}).get("upload", {}) for entry in objects)
    transfer = "xet" if hub.config.xet and "xet" in transfers else "multipart" if multipart else "basic"
    return JSONResponse({"transfer": transfer, "objects": objects, "hash_algo": "sha256"}, media_type=LFS_JSON)


def _object(request: Request, oid: str, size: int, multipart: bool) -> dict[str, Any]:
    hub = hub_of(request)
    if not SHA256.fullmatch(oid) or not isinstance(size, int) or size < 0:
        return {"oid": oid, "size": size, "error": {"code": 422, "message": "malformed oid or size"}}
    repo = repo_of(request, write=True)
    if repo.has_object(oid) and hub.content.size_of(oid) == size:
        return {"oid": oid, "size": size}
    verify = {"href": f"{hub.endpoint}/datasets/{repo.repo_id}.git/info/lfs/objects/verify"}
    upload: dict[str, object] = {"href": _url(hub, repo, oid, size, "whole")}
    if multipart and size > hub.config.lfs_part_bytes:
        upload_id = secrets.token_hex(8)
        count = -(-size // hub.config.lfs_part_bytes)
        parts = {str(number): _url(hub, repo, oid, size, upload_id, number) for number in range(1, count + 1)}
        header = {"chunk_size": str(hub.config.lfs_part_bytes), **parts}
        upload = {"href": _url(hub, repo, oid, size, upload_id), "header": header}
    return {"oid": oid, "size": size, "authenticated": True, "actions": {"upload": upload, "verify": verify}}


def _url(hub: Hub, repo: Repo, oid: str, size: int, upload_id: str, number: int = 0) -> str:
    sig = signature(hub.config, "lfs", repo.repo_id, oid, size, upload_id, number)
    return f"{hub.endpoint}/_lfs/{repo.repo_id}/{oid}/{size}/{upload_id}/{number}?sig={sig}"


async def verify(request: Request) -> Response:
    repo = repo_of(request, write=True)
    body = await request.json()
    if not repo.has_object(body["oid"]) or hub_of(request).content.size_of(body["oid"]) != body["size"]:
        raise HubRefusal(404, "the object was not uploaded")
    return JSONResponse({})


async def upload(request: Request) -> Response:
    """Receive a file or a part by PUT, or complete a multipart upload by POST."""
    hub = hub_of(request)
    oid, upload_id = request.path_params["oid"], request.path_params["upload_id"]
    size, number = request.path_params["size"], request.path_params["number"]
    repo = hub.repos.get(f"{request.path_params['ns']}/{request.path_params['name']}")
    signed = repo and signature(hub.config, "lfs", repo.repo_id, oid, size, upload_id, number)
    if repo is None or request.query_params.get("sig") != signed:
        raise HubRefusal(403, "bad signature")
    parts = hub.content.parts_of(oid, upload_id)
    if request.method == "POST":
        await run_in_threadpool(_complete, hub, parts, oid, size, (await request.json())["parts"])
        repo.push_object(oid)
        return JSONResponse({"success": True})
    temporary = temporary_beside(parts / "part" if number else hub.content.lfs_path(oid))
    digest = await _receive(request, temporary)
    if number:
        os.replace(temporary, parts / f"{number}-{digest}")
    else:
        await run_in_threadpool(hub.content.put_lfs, temporary, oid, size)
        repo.push_object(oid)
    return Response(headers={"ETag": f'"{digest}"'})


async def _receive(request: Request, path: Path) -> str:
    """Stream a body to a file and return its MD5; an incomplete file is removed."""
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with path.open("wb") as file:
            async for block in request.stream():
                digest.update(block)
                file.write(block)
    except BaseException:
        path.unlink()
        raise
    return digest.hexdigest()


def _complete(hub: Hub, parts: Path, oid: str, size: int, listed: list[dict[str, object]]) -> None:
    if hub.content.size_of(oid) == size:
        return  # a repeated completion
    temporary = temporary_beside(hub.content.lfs_path(oid))
    with temporary.open("wb") as whole:
        for part in sorted(listed, key=lambda part: int(str(part["partNumber"]))):
            path = parts / f"{part['partNumber']}-{str(part['etag']).strip(chr(34))}"
            if not path.exists():
                temporary.unlink()
                raise HubRefusal(400, f"part {part['partNumber']} was never uploaded with that ETag")
            with path.open("rb") as file:
                shutil.copyfileobj(file, whole)
    hub.content.put_lfs(temporary, oid, size)
    shutil.rmtree(parts)


LFS = "/datasets/{ns}/{name}.git/info/lfs/objects"
ROUTES = [
    Route(LFS + "/batch", batch, methods=["POST"]),
    Route(LFS + "/verify", verify, methods=["POST"]),
    Route("/_lfs/{ns}/{name}/{oid}/{size:int}/{upload_id}/{number:int}", upload, methods=["PUT", "POST"]),
]
