"""The local Hub's routes for refs and history: tags, the list of refs, the commits of a revision, and super-squash.

A pull request is opened by a commit with `create_pr` (api.py) and is a ref alone: it has no discussion and is not
merged.
"""

import re

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from r2_hf_sandbox.hub.disk import HubRefusal
from r2_hf_sandbox.hub.history import MAIN, Commit
from r2_hf_sandbox.hub.repos import Repo
from r2_hf_sandbox.hub.web import flag, hub_of, repo_of

COMMITS_PER_PAGE = 50
# Git allows more, but a name with a slash would be ambiguous in a decoded path.
TAG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


async def create_tag(request: Request) -> Response:
    """Tag the revision of the path. The message is not kept: no route returns it."""
    repo = repo_of(request, write=True)
    tag = (await request.json()).get("tag")
    if not isinstance(tag, str) or not TAG_NAME.fullmatch(tag) or tag == "main":
        raise HubRefusal(400, f"Invalid tag name: {tag!r}")

    def create() -> None:
        with repo.lock:
            commit = repo.resolve(request.path_params["rev"])
            if tag in repo.tags:
                raise HubRefusal(409, f"Tag reference already exists: {tag}")
            repo.set_tag(tag, commit)

    await run_in_threadpool(create)
    return Response("OK")


def delete_tag(request: Request) -> Response:
    repo = repo_of(request, write=True)
    tag = request.path_params["rev"]
    with repo.lock:
        if tag not in repo.tags:
            raise HubRefusal(404, f"Invalid rev id: refs/tags/{tag}", "RevisionNotFound")
        repo.set_tag(tag, None)
    return Response("OK")


def refs(request: Request) -> Response:
    repo = repo_of(request)
    listed = {
        "branches": [_ref("main", MAIN, repo.head.oid)],
        "converts": [],
        "tags": [_ref(tag, f"refs/tags/{tag}", oid) for tag, oid in sorted(repo.tags.items())],
    }
    if flag(request.query_params.get("include_prs")):
        listed["pullRequests"] = [_ref(ref.rpartition("/")[2], ref, c.oid) for ref, c in repo.pull_requests.items()]
    return JSONResponse(listed)


def _ref(name: str, ref: str, oid: str) -> dict[str, str]:
    return {"name": name, "ref": ref, "targetCommit": oid}


def commits(request: Request) -> Response:
    repo = repo_of(request)
    page = int(request.query_params.get("p", "0"))
    history = repo.history(repo.resolve(request.path_params["rev"]))
    shown = history[page * COMMITS_PER_PAGE : (page + 1) * COMMITS_PER_PAGE]
    headers = {"X-Total-Count": str(len(history))}
    if (page + 1) * COMMITS_PER_PAGE < len(history):
        headers["Link"] = f'<{request.url.include_query_params(p=page + 1)}>; rel="next"'
    return JSONResponse(
        [
            {"id": entry.oid, "title": entry.title, "message": entry.message, "date": entry.date}
            | {"authors": [{"user": entry.author}], "formatted": {"title": entry.title, "message": entry.message}}
            for entry in shown
        ],
        headers=headers,
    )


async def super_squash(request: Request) -> Response:
    """Replace the history of main by one commit with the same tree."""
    repo = repo_of(request, write=True)
    if request.path_params["rev"] != "main":
        raise HubRefusal(404, f"Invalid rev id: {request.path_params['rev']}", "RevisionNotFound")
    message = (await request.json()).get("message") or "Super-squash branch 'main'"
    made = await run_in_threadpool(_squash, repo, message, hub_of(request).config.user)
    return JSONResponse({"commitId": made.oid})


def _squash(repo: Repo, message: str, author: str) -> Commit:
    title, _, rest = message.partition("\n")
    with repo.lock:
        tree = dict(repo.tree(repo.head))
        return repo.commit(title=title, message=rest.strip(), author=author, changes={**tree}, parent=None)


REPO = "/api/datasets/{ns}/{name}"
ROUTES = [
    Route(REPO + "/tag/{rev:path}", create_tag, methods=["POST"]),
    Route(REPO + "/tag/{rev:path}", delete_tag, methods=["DELETE"]),
    Route(REPO + "/refs", refs),
    Route(REPO + "/commits/{rev:path}", commits),
    Route(REPO + "/super-squash/{rev:path}", super_squash, methods=["POST"]),
]
