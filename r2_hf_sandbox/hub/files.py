"""The local Hub's routes for reading: the tree, information on paths, and files.

The headers of a file's response carry its sha256, size and Xet hash: a client with Xet requests only the headers and
fetches chunks, others read the bytes here, in ranges. The real Hub redirects those to another host. Here there is no
redirect, because huggingface_hub 2.x follows one to the same host during a HEAD request.
"""

import hashlib
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from r2_hf_sandbox.hub.disk import HubRefusal
from r2_hf_sandbox.hub.history import RepoFile, Tree
from r2_hf_sandbox.hub.repos import Repo
from r2_hf_sandbox.hub.web import flag, hub_of, refusal_response, repo_of

TREE_PAGE = 1000  # entries a page, as on the real Hub
TREE_PAGE_EXPANDED = 100


def tree(request: Request) -> Response:
    """Serve a page of a folder, or with `recursive` of all paths below it."""
    repo = repo_of(request)
    commit = repo.resolve(request.path_params["rev"])
    folder = request.path_params.get("path", "").strip("/")
    query = request.query_params
    expand = flag(query.get("expand"))
    entries = _entries(repo.tree(commit), folder, recursive=flag(query.get("recursive")))
    if folder and not entries:
        raise HubRefusal(404, f'{folder} does not exist on "{request.path_params["rev"]}"', "EntryNotFound")
    largest = TREE_PAGE_EXPANDED if expand else TREE_PAGE
    limit = max(1, min(int(query.get("limit", largest)), largest))
    left = sorted(path for path in entries if path > query.get("cursor", ""))
    headers = {}
    if len(left) > limit:
        headers["Link"] = f'<{request.url.include_query_params(cursor=left[limit - 1])}>; rel="next"'
    return JSONResponse([_as_json(repo, path, entries[path], expand) for path in left[:limit]], headers=headers)


async def paths_info(request: Request) -> Response:
    """Serve the entries of the requested paths; a missing path is left out."""
    repo = repo_of(request)
    files = repo.tree(repo.resolve(request.path_params["rev"]))
    if request.headers.get("content-type", "").startswith("application/json"):
        body = await request.json()
        paths, expand = body["paths"], flag(body.get("expand"))
    else:
        form = parse_qs((await request.body()).decode())
        paths, expand = form.get("paths", []), flag(form.get("expand", [""])[0])
    entries = []
    for path in [paths] if isinstance(paths, str) else paths:
        path = path.strip("/")
        if path in files:
            entries.append(_as_json(repo, path, files[path], expand))
        elif inside := _entries(files, path, recursive=True):
            entries.append(_as_json(repo, path, _tree_oid(inside), expand))
    return JSONResponse(entries)


def _entries(files: Tree, folder: str, *, recursive: bool) -> dict[str, RepoFile | str]:
    """Return files and folders by path; a folder is its oid."""
    prefix = f"{folder}/" if folder else ""
    below = {path: file for path, file in files.items() if path.startswith(prefix)}
    entries: dict[str, RepoFile | str] = {}
    members: dict[str, dict[str, RepoFile | str]] = {}
    for path, file in below.items():
        parts = path[len(prefix) :].split("/")
        for depth in range(1, len(parts) if recursive else min(2, len(parts))):
            members.setdefault(prefix + "/".join(parts[:depth]), {})[path] = file
        if recursive or len(parts) == 1:
            entries[path] = file
    return entries | {path: _tree_oid(inside) for path, inside in members.items()}


def _tree_oid(inside: dict[str, RepoFile | str]) -> str:
    lines = [f"{path} {file.oid if isinstance(file, RepoFile) else file}" for path, file in sorted(inside.items())]
    return hashlib.sha1("\n".join(lines).encode()).hexdigest()


def _as_json(repo: Repo, path: str, entry: RepoFile | str, expand: bool) -> dict[str, object]:
    if isinstance(entry, str):
        return {"type": "directory", "oid": entry, "size": 0, "path": path}
    shown = entry.as_json()
    if expand:
        last = repo.commits[entry.commit]
        shown["lastCommit"] = {"id": last.oid, "title": last.title, "date": last.date}
    return shown


async def resolve(request: Request) -> Response:
    repo = repo_of(request)
    hub = hub_of(request)
    commit = repo.resolve(request.path_params["rev"])
    file = repo.tree(commit).get(request.path_params["path"])
    headers = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
    if file is None or not repo.has_content(file):
        return refusal_response(HubRefusal(404, "Entry not found", "EntryNotFound"), headers)
    headers["ETag"] = f'"{file.content_id}"'
    if file.sha256:
        headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
    if file.xet_hash and hub.config.xet:
        refresh = f"{hub.endpoint}/api/datasets/{repo.repo_id}/xet-read-token/{commit.oid}"
        info = f"{hub.cas_url}/v1/reconstructions/{file.xet_hash}"
        headers["X-Xet-Hash"] = file.xet_hash
        headers["Link"] = f'<{refresh}>; rel="xet-auth", <{info}>; rel="xet-reconstruction-info"'
    media_type = "application/octet-stream" if file.sha256 else "text/plain; charset=utf-8"
    if request.method == "HEAD":  # without writing a Xet file to disk
        return Response(headers={**headers, "Content-Length": str(file.size)}, media_type=media_type)
    path = await run_in_threadpool(hub.content.path_of, file)
    return FileResponse(path, headers=headers, media_type=media_type)


class Revision(StringConvertor):
    """A revision before a path. The server decodes %2F, so `refs/pr/1` arrives with its slashes."""

    regex = "refs/[^/]+/[^/]+|[^/]+"


register_url_convertor("revision", Revision())

REPO = "/api/datasets/{ns}/{name}"
ROUTES = [
    Route(REPO + "/tree/{rev:revision}", tree),
    Route(REPO + "/tree/{rev:revision}/{path:path}", tree),
    Route(REPO + "/paths-info/{rev:path}", paths_info, methods=["POST"]),
    Route("/datasets/{ns}/{name}/resolve/{rev:revision}/{path:path}", resolve, methods=["GET", "HEAD"]),
]
