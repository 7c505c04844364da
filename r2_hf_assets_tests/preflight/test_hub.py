"""The rules for token and repo, each on responses of every level."""

from collections.abc import Callable
from typing import Any

import pytest

from r2_hf_assets.preflight import FAIL, OK, WARN, Finding
from r2_hf_assets.preflight.hub import check_repo, check_token


def user(role: str, *scopes: tuple[str, str], **teams: str) -> dict[str, Any]:
    """Return whoami's response for a token of `me`: its role, its scopes, and the roles of `me` in teams."""
    scoped = [{"entity": {"_id": "0", "name": name}, "permissions": [may]} for name, may in scopes]
    token = {"displayName": "mine", "role": role, "fineGrained": {"global": [], "scoped": scoped}}
    orgs = [{"type": "org", "name": name, "roleInOrg": member} for name, member in teams.items()]
    return {"type": "user", "name": "me", "orgs": orgs, "auth": {"type": "access_token", "accessToken": token}}


@pytest.mark.parametrize(
    ("rule", "response", "level", "observed"),
    [
        (check_token, (401, {}, "me/speech"), FAIL, "unknown to the Hub"),
        (check_token, (200, user("write"), "me/speech"), OK, "role write: may write to me/speech"),
        (check_token, (200, user("read"), "me/speech"), FAIL, "may not write"),
        (check_token, (200, user("write", team="admin"), "team/speech"), OK, "admin of team"),
        (check_token, (200, user("write", team="read"), "team/speech"), FAIL, "read of team"),
        (check_token, (200, user("write", team="contributor"), "team/speech"), WARN, "contributor of team"),
        (check_token, (200, user("write"), "others/speech"), WARN, "no member of others"),
        (check_token, (200, user("fineGrained", ("me", "repo.write")), "me/speech"), OK, "may write"),
        (check_token, (200, user("fineGrained", ("me/speech", "repo.write")), "me/speech"), OK, "may write"),
        (check_token, (200, user("fineGrained", ("me/other", "repo.write")), "me/speech"), FAIL, "may not"),
        (check_token, (200, user("fineGrained", ("me", "repo.content.read")), "me/speech"), FAIL, "may not"),
        (check_token, (200, user("fineGrained", ("me", "repo.write"), team="write"), "team/a"), FAIL, "may not"),
        (
            check_token,
            (200, user("fineGrained", ("team", "repo.write"), team="write"), "team/a"),
            OK,
            "may write",
        ),
        (check_token, (200, user("something new"), "me/speech"), WARN, "role something new"),
        (check_token, (200, {}, "me/speech"), WARN, "role None"),
        (check_repo, (200, {"private": False}, "me/speech", False), OK, "exists, public"),
        (check_repo, (200, {"private": True}, "me/speech", True), OK, "exists, private"),
        (check_repo, (200, {"private": False}, "me/speech", True), WARN, "exists, public"),
        (check_repo, (404, {}, "me/speech", True), OK, "creates me/speech, private"),
        (check_repo, (401, {}, "me/speech", False), FAIL, "HTTP 401"),
        (check_repo, (403, {}, "me/speech", False), FAIL, "HTTP 403"),
        (check_repo, (503, {}, "me/speech", False), WARN, "HTTP 503"),
    ],
)
def test_a_rule(rule: Callable[..., Finding], response: tuple, level: str, observed: str) -> None:
    finding = rule(*response)
    assert finding.level == level and observed in finding.seen, finding
    assert bool(finding.advice) is (level is not OK)
