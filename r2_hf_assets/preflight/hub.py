"""The Hub: can it be reached, may the token write, is the repo as it should be.

Requests go through huggingface_hub's own session, so that proxies and certificates are those of the real work.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from huggingface_hub.utils import build_hf_headers, get_session

from r2_hf_assets.hub.errors import classify
from r2_hf_assets.preflight import Finding, fail, ok, warn
from r2_hf_assets.preflight.bucket import PATIENCE_S
from r2_hf_assets.settings import HubSettings

_TOKENS = "https://huggingface.co/settings/tokens"
# What a fine-grained token needs in the scope of the repo, or of its owner.
_WRITE = "repo.write"
# Roles in an organization that let a member write to its repos; a contributor writes to those he made himself.
_WRITERS = ("owner", "admin", "write")


def check_hub(hub: HubSettings) -> list[Finding]:
    """Findings `hub`, `token` and `repo`; only the first when the Hub can't be reached. Two requests."""
    get = partial(get_session().get, headers=build_hf_headers(token=hub.token, library_name="r2_hf_assets"))
    try:
        who = get(f"{hub.endpoint}/api/whoami-v2", timeout=PATIENCE_S)
        repo = get(f"{hub.endpoint}/api/datasets/{hub.repo_id}", timeout=PATIENCE_S)
        identity, info = (answer.json() if answer.status_code == 200 else {} for answer in (who, repo))
    except Exception as error:
        if classify(error) is None and not isinstance(error, OSError | ValueError):
            raise
        advice = "check HF_ENDPOINT, and unset HF_HUB_OFFLINE"
        return [fail("hub", f"{hub.endpoint} can't be reached ({type(error).__name__})", advice)]
    if who.status_code not in (200, 401, 403):
        return [
            fail("hub", f"{hub.endpoint} responds with HTTP {who.status_code}", "try again later, or check HF_ENDPOINT")
        ]
    return [
        ok("hub", f"{hub.endpoint} responds"),
        check_token(who.status_code, identity, hub.repo_id),
        check_repo(repo.status_code, info, hub.repo_id, hub.private),
    ]


def check_token(status: int, identity: Mapping[str, Any], repo_id: str) -> Finding:
    """Whether a token may write to the repo, by the response to whoami."""
    if status != 200:
        return fail("token", "the Hub does not know it: wrong, expired or revoked", f"make one at {_TOKENS}")
    token, user, owner = identity.get("auth", {}).get("accessToken", {}), identity.get("name"), repo_id.split("/")[0]
    role = token.get("role")
    granted = set[str]()
    for scope in (token.get("fineGrained") or {}).get("scoped") or ():
        if scope.get("entity", {}).get("name") in (repo_id, owner):
            granted.update(scope.get("permissions") or ())
    teams = {team.get("name"): team.get("roleInOrg") for team in identity.get("orgs", ())}
    member = "owner" if user == owner else teams.get(owner, "no member")
    seen = f"of {user}, {member} of {owner}, role {role}"
    if "read" in (role, member) or (role == "fineGrained" and _WRITE not in granted):
        advice = f"give it write access to the repo or to all repos of {owner} ({_TOKENS})"
        return fail("token", f"{seen}: it may not write to {repo_id}", advice)
    if role in ("write", "fineGrained") and member in _WRITERS:
        return ok("token", f"{seen}: may write to {repo_id}")
    return warn("token", seen, f"check HF_REPO_ID, and that this is enough to write to {repo_id}")


def check_repo(status: int, info: Mapping[str, Any], repo_id: str, private: bool) -> Finding:
    """Whether the dataset repo is there, and private where it is to be, by the response about it."""
    if status == 404:
        return ok("repo", f"{repo_id} is not there; the first commit creates it, {'private' if private else 'public'}")
    if status != 200:
        level = fail if status in (401, 403) else warn
        return level("repo", f"{repo_id} could not be looked at: HTTP {status}", "check HF_TOKEN and HF_REPO_ID")
    seen = f"{repo_id} is there, {'private' if info.get('private') else 'public'}"
    if private and not info.get("private"):
        return warn("repo", seen, "HF_PRIVATE=1 is for a repo that is created; make this one private on its page")
    return ok("repo", seen)
