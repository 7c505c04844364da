"""Findings, and the rules: pure functions from facts that a collector gathered to one finding, with numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import PurePath
from typing import Any

# Descriptors besides the GET requests: metadata, parts, databases, libraries.
_OTHER_FILES = 256
_TOKENS = "https://huggingface.co/settings/tokens"
# What a fine-grained token needs in the scope of the repo, or of its owner.
_WRITE = "repo.write"
# Roles in an organization that let a member write to its repos; a contributor writes to those he made himself.
_WRITERS = ("owner", "admin", "write")


class Level(StrEnum):
    """OK: as it should be. WARN: works, or can't be told; read it. FAIL: the job will not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line: how it is, what was looked at, what was seen, and what to do ("" for nothing)."""

    level: Level
    name: str
    seen: str
    advice: str = ""


ok = partial(Finding, Level.OK)
warn = partial(Finding, Level.WARN)
fail = partial(Finding, Level.FAIL)


def first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


def judge_files(limit: int, workers: int) -> Finding:
    """The limit of open files: every GET in flight is a descriptor. `limit` negative: there is none."""
    seen, wanted = f"{'no limit' if limit < 0 else limit}, for {workers} GET requests", workers + _OTHER_FILES
    if not 0 <= limit < wanted:
        return ok("open files", seen)
    return (fail if limit <= workers else warn)("open files", seen, f"ulimit -n {wanted}, or lower DOWNLOAD_WORKERS")


def judge_disk(name: str, folder: PurePath, writable: bool, free: int, needed: int, advice: str) -> Finding:
    """Whether a folder may be written and has `needed` bytes."""
    if not writable:
        return fail(name, f"{folder} may not be written", advice)
    seen = f"{free / 10**9:,.1f} GB free at {folder}, up to {needed / 10**9:,.1f} GB needed"
    return fail(name, seen, advice) if free < needed else ok(name, seen)


def judge_retries(settings: Mapping[str, Any]) -> Finding:
    """Run retries and run monitoring are off unless dagster.yaml, as Dagster reads it, turns them on."""
    retries, monitoring = (settings.get(name) or {} for name in ("run_retries", "run_monitoring"))
    most = retries.get("max_retries", 0)
    if retries.get("enabled") and most and monitoring.get("enabled"):
        return ok("dagster.yaml", f"runs that die are started again, up to {most} times")
    seen = "run_retries or run_monitoring is off: a run of the UI that dies is not started again"
    return warn("dagster.yaml", seen, "copy the template: make home, or cp dagster.yaml into DAGSTER_HOME")


def judge_token(status: int, identity: Mapping[str, Any], repo_id: str) -> Finding:
    """Whether a token may write to the repo, by how the Hub answers whoami."""
    if status != 200:
        return fail("token", "the Hub does not know it: wrong, expired or revoked", f"make one at {_TOKENS}")
    token, user, owner = identity.get("auth", {}).get("accessToken", {}), identity.get("name"), repo_id.split("/")[0]
    role, names = token.get("role"), {repo_id, owner}
    scopes = [
        s for s in (token.get("fineGrained") or {}).get("scoped") or () if s.get("entity", {}).get("name") in names
    ]
    granted = {permission for scope in scopes for permission in scope.get("permissions") or ()}
    teams = {team.get("name"): team.get("roleInOrg") for team in identity.get("orgs", ())}
    member = "owner" if user == owner else teams.get(owner, "no member")
    seen = f"of {user}, {member} of {owner}, role {role}"
    if "read" in (role, member) or (role == "fineGrained" and _WRITE not in granted):
        advice = f"give it write access to the repo or to all repos of {owner} ({_TOKENS})"
        return fail("token", f"{seen}: it may not write to {repo_id}", advice)
    if role in ("write", "fineGrained") and member in _WRITERS:
        return ok("token", f"{seen}: may write to {repo_id}")
    return warn("token", seen, f"check HF_REPO_ID, and that this is enough to write to {repo_id}")


def judge_repo(status: int, info: Mapping[str, Any], repo_id: str, private: bool) -> Finding:
    """The dataset repo, by how the Hub answers a question about it; and whether it is to be private."""
    if status == 404:
        return ok("repo", f"{repo_id} is not there; the first commit creates it, {'private' if private else 'public'}")
    if status != 200:
        judge = fail if status in (401, 403) else warn
        return judge("repo", f"{repo_id} could not be looked at: HTTP {status}", "check HF_TOKEN and HF_REPO_ID")
    seen = f"{repo_id} is there, {'private' if info.get('private') else 'public'}"
    if private and not info.get("private"):
        return warn("repo", seen, "HF_PRIVATE=1 is for a repo that is created; make this one private on its page")
    return ok("repo", seen)
