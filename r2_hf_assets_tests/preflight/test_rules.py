"""The rules: each on facts with which it finds nothing, and on those with which it finds something."""

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import pytest

from r2_hf_assets.preflight import rules
from r2_hf_assets.preflight.rules import Finding, Level

OK, WARN, FAIL = Level.OK, Level.WARN, Level.FAIL
HOME = PurePosixPath("/srv/home")
TWICE = {"enabled": True, "max_retries": 2}


def user(role: str, *scopes: tuple[str, str], **teams: str) -> dict[str, Any]:
    """What whoami answers about a token of `me`: its role, what it may do where, and the roles of `me` in teams."""
    scoped = [{"entity": {"_id": "0", "name": name}, "permissions": [may]} for name, may in scopes]
    token = {"displayName": "mine", "role": role, "fineGrained": {"global": [], "scoped": scoped}}
    orgs = [{"type": "org", "name": name, "roleInOrg": member} for name, member in teams.items()]
    return {"type": "user", "name": "me", "orgs": orgs, "auth": {"type": "access_token", "accessToken": token}}


@pytest.mark.parametrize(
    ("rule", "facts", "level", "said"),
    [
        (rules.judge_files, (-1, 128), OK, "no limit"),
        (rules.judge_files, (1024, 128), OK, "1024, for 128"),
        (rules.judge_files, (256, 128), WARN, "256, for 128"),
        (rules.judge_files, (128, 128), FAIL, "128, for 128"),
        (rules.judge_disk, ("scratch", HOME, True, 3 * 10**9, 2 * 10**9, "do"), OK, "3.0 GB free at /srv/home"),
        (rules.judge_disk, ("scratch", HOME, True, 10**9, 2 * 10**9, "do"), FAIL, "up to 2.0 GB needed"),
        (rules.judge_disk, ("scratch", HOME, False, 10**12, 1, "do"), FAIL, "may not be written"),
        (rules.judge_retries, ({"run_retries": TWICE, "run_monitoring": {"enabled": True}},), OK, "up to 2 times"),
        (rules.judge_retries, ({"run_retries": TWICE, "run_monitoring": None},), WARN, "run_monitoring is off"),
        (rules.judge_retries, ({"run_retries": {"enabled": True}},), WARN, "run_retries or run_monitoring is off"),
        (rules.judge_token, (401, {}, "me/speech"), FAIL, "does not know it"),
        (rules.judge_token, (200, user("write"), "me/speech"), OK, "role write: may write to me/speech"),
        (rules.judge_token, (200, user("read"), "me/speech"), FAIL, "may not write"),
        (rules.judge_token, (200, user("write", team="admin"), "team/speech"), OK, "admin of team"),
        (rules.judge_token, (200, user("write", team="read"), "team/speech"), FAIL, "read of team"),
        (rules.judge_token, (200, user("write", team="contributor"), "team/speech"), WARN, "contributor of team"),
        (rules.judge_token, (200, user("write"), "others/speech"), WARN, "no member of others"),
        (rules.judge_token, (200, user("fineGrained", ("me", "repo.write")), "me/speech"), OK, "may write"),
        (rules.judge_token, (200, user("fineGrained", ("me/speech", "repo.write")), "me/speech"), OK, "may write"),
        (rules.judge_token, (200, user("fineGrained", ("me/other", "repo.write")), "me/speech"), FAIL, "may not"),
        (rules.judge_token, (200, user("fineGrained", ("me", "repo.content.read")), "me/speech"), FAIL, "may not"),
        (rules.judge_token, (200, user("fineGrained", ("me", "repo.write"), team="write"), "team/a"), FAIL, "may not"),
        (
            rules.judge_token,
            (200, user("fineGrained", ("team", "repo.write"), team="write"), "team/a"),
            OK,
            "may write",
        ),
        (rules.judge_token, (200, user("something new"), "me/speech"), WARN, "role something new"),
        (rules.judge_token, (200, {}, "me/speech"), WARN, "role None"),
        (rules.judge_repo, (200, {"private": False}, "me/speech", False), OK, "there, public"),
        (rules.judge_repo, (200, {"private": True}, "me/speech", True), OK, "there, private"),
        (rules.judge_repo, (200, {"private": False}, "me/speech", True), WARN, "there, public"),
        (rules.judge_repo, (404, {}, "me/speech", True), OK, "creates it, private"),
        (rules.judge_repo, (401, {}, "me/speech", False), FAIL, "HTTP 401"),
        (rules.judge_repo, (403, {}, "me/speech", False), FAIL, "HTTP 403"),
        (rules.judge_repo, (503, {}, "me/speech", False), WARN, "HTTP 503"),
    ],
)
def test_a_rule(rule: Callable[..., Finding], facts: tuple, level: Level, said: str) -> None:
    found = rule(*facts)
    assert found.level == level and said in found.seen, found
    assert bool(found.advice) is (level is not OK)
