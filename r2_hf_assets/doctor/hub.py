"""The Hub: does it answer, what may the token do, and is the dataset repo there as it should be.

Two requests, made with huggingface_hub's own session, so that proxies and certificates are those of the real work; it
is the answers' status and Date that are wanted here, which the library's methods keep to themselves. The rules over the
answers are pure. Nothing is written: that a token may write is read from what the Hub says of it.
"""

from collections.abc import Mapping
from typing import Any

from r2_hf_assets.doctor.clock import judge_clock
from r2_hf_assets.doctor.finding import PATIENCE_S, Finding, fail, ok, warn
from r2_hf_assets.hub.errors import classify
from r2_hf_assets.retry import parse_http_date
from r2_hf_assets.settings import HubSettings, is_on

_TOKENS = "https://huggingface.co/settings/tokens"
# What a token needs in the scope of the repo, or of the namespace it is to be created in.
_WRITE = "repo.write"
# Roles in an organization that let a member write to its repos; a contributor writes to those he made himself.
_WRITERS = ("admin", "write")


def look_at_hub(hub: HubSettings) -> list[Finding]:
    """Findings `hub`, `token`, `repo` and `clock (Hub)`; only the first when the Hub can't be asked."""
    if is_on("HF_HUB_OFFLINE"):
        return [fail("hub", "HF_HUB_OFFLINE is set", "unset it: nothing can be committed")]
    try:
        who, repo = _get(hub, "whoami-v2"), _get(hub, f"datasets/{hub.repo_id}")
    except Exception as error:
        trouble = classify(error)
        if trouble is None and not isinstance(error, OSError | ValueError):
            raise
        return [fail("hub", f"{hub.endpoint} can't be reached ({type(error).__name__})", "check HF_ENDPOINT")]
    found = [_judge_answer(hub, who)]
    if who.status_code == 200:
        identity = _json(who)
        found += [judge_token(identity, hub.repo_id)]
        found += [judge_repo(repo.status_code, _json(repo), hub, may_create(identity, hub.repo_id))]
    else:
        found += [_judge_refusal(who.status_code), judge_repo(repo.status_code, _json(repo), hub, True)]
    return [*found, judge_clock("clock (Hub)", "the Hub", parse_http_date(who.headers.get("date", "")))]


def _get(hub: HubSettings, path: str) -> Any:
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import build_hf_headers, get_session

    headers = build_hf_headers(token=hub.token, library_name="r2_hf_assets")
    try:
        return get_session().get(f"{hub.endpoint}/api/{path}", headers=headers, timeout=PATIENCE_S)
    except HfHubHTTPError as error:  # a 429 is raised by the session itself (hub/timeouts.py)
        return error.response


def _json(answer: Any) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _judge_answer(hub: HubSettings, who: Any) -> Finding:
    if who.status_code in (200, 401, 403, 429):
        return ok("hub", f"{hub.endpoint} answers")
    return fail("hub", f"{hub.endpoint} answers HTTP {who.status_code}", "check HF_ENDPOINT, or try again later")


def _judge_refusal(status: int) -> Finding:
    if status in (401, 403):
        return fail("token", "the Hub does not know it: wrong, expired or revoked", f"make one at {_TOKENS}")
    if status == 429:
        return warn("token", "the Hub wants no more questions about it for now", "try again in a few minutes")
    return warn("token", f"not told: HTTP {status}", "try again later")


def judge_token(identity: Mapping[str, Any], repo_id: str) -> Finding:
    """Whether a token may write to the repo, by what whoami says of it."""
    token = identity.get("auth", {}).get("accessToken", {})
    role, user = token.get("role", ""), identity.get("name", "?")
    owner = repo_id.partition("/")[0]
    seen = f"of {user}, role {role or 'unknown'}"
    if role == "read":
        return fail(
            "token", f"{seen}: it may not write", f"set HF_TOKEN to one that may write to {repo_id} ({_TOKENS})"
        )
    if role == "fineGrained":
        if _WRITE not in _permissions(token, repo_id):
            return fail(
                "token",
                f"{seen}: it may not write to {repo_id}",
                f"give it write access to the repo or to all repos of {owner} ({_TOKENS})",
            )
    elif role != "write":
        return warn("token", seen, f"can't be told whether it may write to {repo_id}")
    return _judge_membership(identity, repo_id, seen)


def _judge_membership(identity: Mapping[str, Any], repo_id: str, seen: str) -> Finding:
    owner = repo_id.partition("/")[0]
    if identity.get("name") == owner:
        return ok("token", f"{seen}: may write to {repo_id}")
    team = next((org for org in identity.get("orgs", ()) if org.get("name") == owner), None)
    if team is None:
        return warn(
            "token",
            f"{seen}, who is no member of {owner}",
            f"check HF_REPO_ID, and that {identity.get('name')} may write to {repo_id}",
        )
    member = team.get("roleInOrg")
    if member in _WRITERS:
        return ok("token", f"{seen}, {member} in {owner}: may write to {repo_id}")
    if member == "read":
        return fail("token", f"{seen}, may only read in {owner}", f"ask for write access to {owner}")
    return warn("token", f"{seen}, {member or 'a member'} in {owner}", f"check that this is enough for {repo_id}")


def may_create(identity: Mapping[str, Any], repo_id: str) -> bool:
    """Whether the token may make the repo: a fine-grained one for a single repo may not."""
    token = identity.get("auth", {}).get("accessToken", {})
    owner = repo_id.partition("/")[0]
    return token.get("role") != "fineGrained" or _WRITE in _permissions(token, f"{owner}/")


def _permissions(token: Mapping[str, Any], repo_id: str) -> set[str]:
    """What a fine-grained token may do in this repo: by its own entry, or by that of its owner."""
    names = {repo_id, repo_id.partition("/")[0]}
    scoped = (token.get("fineGrained") or {}).get("scoped") or ()
    fitting = (scope for scope in scoped if (scope.get("entity") or {}).get("name") in names)
    return {permission for scope in fitting for permission in scope.get("permissions") or ()}


def judge_repo(status: int, info: Mapping[str, Any], hub: HubSettings, creatable: bool) -> Finding:
    """The dataset repo, by how the Hub answers a question about it."""
    wanted = "private" if hub.private else "public"
    if status == 200:
        there = "private" if info.get("private") else "public"
        seen = f"{hub.repo_id} is there, {there}"
        if info.get("disabled"):
            return fail("repo", f"{seen}, and disabled by the Hub", "see its page")
        if hub.private and there == "public":
            return warn("repo", seen, "HF_PRIVATE=1 is for a repo that is created; make this one private on its page")
        return ok("repo", seen)
    if status == 404 and creatable:
        return ok("repo", f"{hub.repo_id} is not there; the first commit creates it, {wanted}")
    if status == 404:
        seen = f"{hub.repo_id} is not there, or the token may not see it; nor may it create it"
        return fail("repo", seen, "create it, or let the token do so")
    if status in (401, 403):
        return fail("repo", f"{hub.repo_id} may not be seen with this token", "check HF_TOKEN and HF_REPO_ID")
    return warn("repo", f"{hub.repo_id} could not be looked at: HTTP {status}", "try again later")
