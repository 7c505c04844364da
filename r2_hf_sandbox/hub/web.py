"""What the local Hub's routes share: its state, who is asking, which repository they may see, and how refusals look.

As on the real Hub: no token and no such (public) repository is 401, for it does not say which repositories exist; with
a token it is 404 RepoNotFound; a token it does not know is 401 "Invalid credentials"; a read token that writes is 403.
`X-Error-Code` and `X-Error-Message` are what huggingface_hub makes its exceptions of.
"""

import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from r2_hf_sandbox.hub.content import Content
from r2_hf_sandbox.hub.disk import HubRefusal
from r2_hf_sandbox.hub.repos import Repo, Repos
from r2_hf_sandbox.hub.xet import XetStore

XET_TOKEN_LIFETIME_S = 900  # the real Hub's is about a quarter of an hour


@dataclass(frozen=True)
class HubConfig:
    """The Hub's settings, kept in `hub.json` of its folder. `namespaces` empty: the user may write everywhere."""

    user: str
    write_token: str
    read_token: str
    secret: str
    store_id: str
    namespaces: tuple[str, ...]
    xet: bool
    serve_xet_reads: bool
    lfs_part_bytes: int


@dataclass(frozen=True)
class Hub:
    """All a route needs, found at `request.app.state.hub`."""

    config: HubConfig
    endpoint: str
    repos: Repos
    content: Content
    xet: XetStore

    @property
    def cas_url(self) -> str:
        return cas_url(self.endpoint, self.config)


def open_hub(folder: Path, endpoint: str) -> Hub:
    values = json.loads((folder / "hub.json").read_text())
    config = HubConfig(**{**values, "namespaces": tuple(values["namespaces"])})
    xet = XetStore(folder / "xet")
    content = Content(folder, xet, cas_url(endpoint, config), lambda: xet_token(config, "read")[0])
    return Hub(config, endpoint, Repos(folder / "repos"), content, xet)


def cas_url(endpoint: str, config: HubConfig) -> str:
    """The id in it is new with every folder: clients cache what a CAS holds, by its URL."""
    return f"{endpoint}/_cas/{config.store_id}"


def hub_of(request: Request) -> Hub:
    return request.app.state.hub


def role_of(request: Request) -> str | None:
    """`write`, `read`, or None without a token.

    Raises:
        HubRefusal: 401, the token is not one of ours.
    """
    header = request.headers.get("authorization")
    if header is None:
        return None
    config = hub_of(request).config
    for token, role in ((config.write_token, "write"), (config.read_token, "read")):
        if hmac.compare_digest(header.encode(), f"Bearer {token}".encode()):
            return role
    raise HubRefusal(401, "Invalid credentials in Authorization header")


def require_writer(request: Request, namespace: str | None = None) -> None:
    role = role_of(request)
    config = hub_of(request).config
    if role is None:
        raise HubRefusal(401, "Invalid username or password.")
    if role != "write":
        raise HubRefusal(403, "Forbidden: you must use a write token to upload to a repository.")
    if namespace and config.namespaces and namespace not in config.namespaces:
        raise HubRefusal(403, f'You don\'t have the rights to create a dataset under the namespace "{namespace}"')


def repo_of(request: Request, *, write: bool = False) -> Repo:
    """The repository that the path names, if the asker may see it (and write to it)."""
    role = role_of(request)
    namespace = request.path_params["ns"]
    repo = hub_of(request).repos.get(f"{namespace}/{request.path_params['name']}")
    if repo is None or (repo.private and role is None):
        if role is None:
            raise HubRefusal(401, "Invalid username or password.", "RepoNotFound")
        raise HubRefusal(404, "Repository not found", "RepoNotFound")
    if write:
        require_writer(request, namespace)
    return repo


def refusal_response(refusal: HubRefusal, extra: dict[str, str] | None = None) -> Response:
    message = refusal.message.encode("latin-1", "replace").decode("latin-1").replace("\n", " ")
    headers = {**(extra or {}), "X-Error-Message": message}
    if refusal.code:
        headers["X-Error-Code"] = refusal.code
    return JSONResponse({"error": refusal.message}, refusal.status, headers)


def flag(value: Any) -> bool:
    return str(value).lower() in ("1", "true")


def signature(config: HubConfig, *parts: object) -> str:
    """What makes a URL or token of ours good without another look-up: a keyed digest of what it allows."""
    text = "\n".join(map(str, parts)).encode()
    return hmac.new(config.secret.encode(), text, hashlib.sha256).hexdigest()[:40]


def xet_token(config: HubConfig, kind: str) -> tuple[str, int]:
    """A CAS token (`read` or `write`) and when it expires, in Unix seconds."""
    expires = int(time.time()) + XET_TOKEN_LIFETIME_S
    return f"xet.{kind}.{expires}.{signature(config, 'xet', kind, expires)}", expires


def check_xet_token(config: HubConfig, header: str | None, kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        prefix, _, given = (header or "").rpartition(".")
        expires = prefix.rpartition(".")[2]
        good = prefix == f"Bearer xet.{kind}.{expires}" and expires.isdigit() and int(expires) > time.time()
        if good and hmac.compare_digest(given, signature(config, "xet", kind, expires)):
            return
    raise HubRefusal(401, "Xet token missing, expired or without the scope needed")
