"""The Hub: whether it can be reached, the token may write, the repo is as private as set, and a user can read it.

Requests use huggingface_hub's session, so that proxies and certificates are those of the job.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from huggingface_hub.utils import build_hf_headers, get_session

from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.errors import classify
from r2_hf_assets.hub.reader import NothingToRead, advice, check_reader
from r2_hf_assets.preflight import Finding, fail, ok, warn
from r2_hf_assets.preflight.bucket import PATIENCE_S
from r2_hf_assets.retry import ONCE
from r2_hf_assets.settings import HubSettings

_TOKENS = "https://huggingface.co/settings/tokens"
# The permission of a fine-grained token, in the scope of the repo or of its owner.
_WRITE = "repo.write"
# Roles of members that may write to every repo of an organization; contributors may write to their own ones.
_WRITERS = ("owner", "admin", "write")


def getter(hub: HubSettings) -> Callable[..., Any]:
    """Return the `get` of huggingface_hub's session, with the token, for requests to the Hub's API."""
    headers = build_hf_headers(token=hub.token, library_name="r2_hf_assets")
    return partial(get_session().get, headers=headers, timeout=PATIENCE_S)


def check_hub(hub: HubSettings) -> list[Finding]:
    """Return findings `hub`, `token` and `repo`, by two requests; only the first when the Hub can't be reached."""
    get = getter(hub)
    try:
        whoami = get(f"{hub.endpoint}/api/whoami-v2")
        repo = get(f"{hub.endpoint}/api/datasets/{hub.repo_id}")
        identity, info = (got.json() if got.status_code == 200 else {} for got in (whoami, repo))
    except Exception as error:
        if classify(error) is None and not isinstance(error, OSError | ValueError):
            raise
        advice = "check HF_ENDPOINT, and unset HF_HUB_OFFLINE"
        return [fail("hub", f"{hub.endpoint} can't be reached ({type(error).__name__})", advice)]
    if whoami.status_code not in (200, 401, 403):
        seen = f"{hub.endpoint} responds with HTTP {whoami.status_code}"
        return [fail("hub", seen, "try again later, or check HF_ENDPOINT")]
    return [
        ok("hub", f"{hub.endpoint} responds"),
        check_token(whoami.status_code, identity, hub.repo_id),
        check_repo(repo.status_code, info, hub.repo_id, hub.private),
    ]


def check_token(status: int, identity: Mapping[str, Any], repo_id: str) -> Finding:
    """Check by the response of whoami whether the token may write to the repo."""
    if status != 200:
        return fail("token", "it is unknown to the Hub: wrong, expired or revoked", f"create one at {_TOKENS}")
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
    """Check by its response whether the dataset repo exists, and is private if it is to be."""
    if status == 404:
        return ok("repo", f"the first commit creates {repo_id}, {'private' if private else 'public'}")
    if status != 200:
        level = fail if status in (401, 403) else warn
        return level("repo", f"{repo_id} can't be read: HTTP {status}", "check HF_TOKEN and HF_REPO_ID")
    seen = f"{repo_id} exists, {'private' if info.get('private') else 'public'}"
    if private and not info.get("private"):
        return warn("repo", seen, "HF_PRIVATE=1 applies to a new repo; make this one private on its page")
    return ok("repo", seen)


def check_as_reader(hub: HubSettings) -> list[Finding]:
    """Return finding `reader`, a warning where a user would not get a row. It takes seconds for each config."""
    try:
        verdict = check_reader(hub, ONCE)
    except NothingToRead as nothing:
        seen, _, what_to_do = str(nothing).partition(": ")
        return [warn("reader", seen, what_to_do)]
    except R2HfError as error:
        return [warn("reader", "the card can't be read", str(error))]
    return [ok("reader", verdict.summary) if verdict.passed else warn("reader", verdict.summary, advice(verdict))]
