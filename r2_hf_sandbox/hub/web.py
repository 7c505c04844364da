"""What the local Hub's routes share: state, authorization, the repository of a path, and error responses.

As on the real Hub, a missing or private repository is 401 without a token, so that private names stay secret, and 404
RepoNotFound with one. An unknown token is 401 "Invalid credentials", a write with a read token 403. huggingface_hub
makes its exceptions of `X-Error-Code` and `X-Error-Message`.
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
    """The content of `hub.json` in the Hub's folder."""

    user: str
    write_token: str
    read_token: str
    secret: str
    store_id: str
    xet: bool
    lfs_part_bytes: int


@dataclass(frozen=True)
class Hub:
    """The state that routes use, at `request.app.state.hub`."""

    config: HubConfig
    endpoint: str
    repos: Repos
    content: Content
    xet: XetStore

    @property
    def cas_url(self) -> str:
        return cas_url(self.endpoint, self.config)


def open_hub(folder: Path, endpoint: str) -> Hub:
    config = HubConfig(**json.loads((folder / "hub.json").read_text()))
    xet = XetStore(folder / "xet")
    content = Content(folder, xet, cas_url(endpoint, config), lambda: xet_token(config, "read")[0])
    return Hub(config, endpoint, Repos(folder / "repos"), content, xet)


def cas_url(endpoint: str, config: HubConfig) -> str:
    """Return a URL with the folder's own id, because clients cache the content of a CAS by its URL."""
    return f"{endpoint}/_cas/{config.store_id}"


def hub_of(request: Request) -> Hub:
    return request.app.state.hub


def role_of(request: Request) -> str | None:
    """Return `write`, `read`, or None without a token.

    Raises:
        HubRefusal: 401, an unknown token.
    """
    header = request.headers.get("authorization")
    if header is None:
        return None
    config = hub_of(request).config
    for token, role in ((config.write_token, "write"), (config.read_token, "read")):
        if hmac.compare_digest(header.encode(), f"Bearer {token}".encode()):
            return role
    raise HubRefusal(401, "Invalid credentials in Authorization header")


def require_writer(request: Request) -> None:
    role = role_of(request)
    if role is None:
        raise HubRefusal(401, "Invalid username or password.")
    if role != "write":
        raise HubRefusal(403, "Forbidden: you must use a write token to upload to a repository.")


def repo_of(request: Request, *, write: bool = False) -> Repo:
    """Return the repository of the path, if the token may read it (and write to it)."""
    role = role_of(request)
    repo = hub_of(request).repos.get(f"{request.path_params['ns']}/{request.path_params['name']}")
    if repo is None or (repo.private and role is None):
        if role is None:
            raise HubRefusal(401, "Invalid username or password.", "RepoNotFound")
        raise HubRefusal(404, "Repository not found", "RepoNotFound")
    if write:
        require_writer(request)
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
    """Return a keyed digest of what a URL or token allows, which verifies it without stored state."""
    text = "\n".join(map(str, parts)).encode()
    return hmac.new(config.secret.encode(), text, hashlib.sha256).hexdigest()[:40]


def xet_token(config: HubConfig, kind: str, repo: str = "") -> tuple[str, int]:
    """Return a CAS token (`read` or `write`) for a repository, by its internal id, and its expiry in Unix seconds."""
    expires = int(time.time()) + XET_TOKEN_LIFETIME_S
    return f"xet.{kind}.{expires}.{signature(config, 'xet', kind, expires, repo)}.{repo}", expires


def check_xet_token(config: HubConfig, header: str | None, kinds: tuple[str, ...]) -> str:
    """Return the internal id of the token's repository."""
    prefix, kind, expires, given, repo = ((header or "").split(".") + [""] * 5)[:5]
    valid = prefix == "Bearer xet" and kind in kinds and expires.isdigit() and int(expires) > time.time()
    if valid and hmac.compare_digest(given, signature(config, "xet", kind, expires, repo)):
        return repo
    raise HubRefusal(401, "Xet token missing, expired or without the scope needed")
