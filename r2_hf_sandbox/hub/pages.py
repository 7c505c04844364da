"""The local Hub's HTML pages: a dataset's files, and a commit with its changes. Every value is escaped.

They are the targets of the links in a materialization's metadata.
"""

from html import escape
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from r2_hf_sandbox.hub.disk import HubRefusal
from r2_hf_sandbox.hub.repos import Repo
from r2_hf_sandbox.hub.web import repo_of

STYLE = "body{font:15px sans-serif;max-width:60rem;margin:2rem auto}td,th{padding:.2rem 1rem .2rem 0;text-align:left}"


def page(title: str, body: str) -> HTMLResponse:
    return HTMLResponse(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{STYLE}</style>"
        f"<body><h1>{escape(title)}</h1>{body}<p><small>Local sandbox Hub</small>",
        headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
    )


def dataset(request: Request) -> Response:
    repo = _visible(request)
    commit = repo.head
    rows = "".join(
        f'<tr><td><a href="{escape(_file_url(repo, commit.oid, path))}">{escape(path)}</a>'
        f"<td>{file.size:,} bytes<td>{_commit_link(repo, repo.commits[file.commit].oid)}"
        for path, file in sorted(repo.tree(commit).items())
    )
    about = (
        f"<p>{len(repo.history(commit))} commits, the last: {_commit_link(repo, commit.oid)} of {escape(commit.date)}"
    )
    return page(repo.repo_id, f"{about}<table><tr><th>File<th>Size<th>Last commit{rows}</table>")


def commit(request: Request) -> Response:
    repo = _visible(request)
    entry = repo.resolve(request.path_params["rev"])
    rows = "".join(
        f"<tr><td>{'changed' if file else 'removed'}<td>{escape(path)}<td>"
        + (f"{file.size:,} bytes<td><code>{escape((file.sha256 or file.oid)[:16])}</code>" if file else "")
        for path, file in sorted(entry.changes.items())
    )
    parent = f", parent {_commit_link(repo, entry.parent)}" if entry.parent else ""
    return page(
        entry.title,
        f'<p>Commit {entry.oid} to <a href="/datasets/{escape(repo.repo_id)}">{escape(repo.repo_id)}</a> '
        f"by {escape(entry.author)}, {escape(entry.date)}{parent}<pre>{escape(entry.message)}</pre>"
        f"<table><tr><th><th>File<th>Size<th>Content{rows}</table>",
    )


def blob(request: Request) -> Response:
    repo = _visible(request)
    return RedirectResponse(_file_url(repo, request.path_params["rev"], request.path_params["path"]))


def _visible(request: Request) -> Repo:
    """Return the repository; a private one has no page, because a browser sends no token."""
    try:
        return repo_of(request)
    except HubRefusal as refusal:
        raise HubRefusal(404, "Sorry, we can't find the page you are looking for.") from refusal


def _file_url(repo: Repo, revision: str, path: str) -> str:
    return f"/datasets/{repo.repo_id}/resolve/{quote(revision)}/{quote(path)}"


def _commit_link(repo: Repo, oid: str) -> str:
    return f'<a href="/datasets/{escape(repo.repo_id)}/commit/{oid}"><code>{oid[:8]}</code></a>'


PAGE = "/datasets/{ns}/{name}"
ROUTES = [
    Route(PAGE, dataset),
    Route(PAGE + "/commit/{rev}", commit),
    Route(PAGE + "/blob/{rev}/{path:path}", blob),
]
