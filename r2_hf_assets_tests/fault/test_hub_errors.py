"""An upload and its commit by the real client, over Xet and LFS, with errors at any route of the Hub."""

import email.utils
import re
import time

import pytest

from r2_hf_assets.errors import AccessError, RetriesExhausted
from r2_hf_assets.retry import Retry
from r2_hf_assets_tests.fault.hub_case import EVERY, FOR_EVER, ROUTES, XET_TOKEN, HubCase

# Routes about the repo and its tokens; the others carry bytes.
HUB_ONLY = [*(f"Xet, {name}" for name in ROUTES), "Xet, xet token", "LFS, preupload", "LFS, LFS batch"]


TRANSIENT = {str(status): {"status": status} for status in (408, 429, 500, 502, 503, 504)}
TRANSIENT |= {"dropped": {"drop": True}, "dropped after the work": {"drop": True, "after": True}}
TRANSIENT |= {"504 after the work": {"status": 504, "after": True}}


CASES = [(fault, 1) for fault in TRANSIENT] + [("503", 3), ("dropped", 3)]


@pytest.mark.parametrize(("fault", "times"), CASES)
@pytest.mark.parametrize("route", EVERY)
def test_a_transient_error_loses_nothing(case: HubCase, route, fault, times):
    case.inject(EVERY[route], times=times, **TRANSIENT[fault])
    mark = case.hub.mark()
    case.commit()
    assert any(request.get("fault") for request in case.hub.requests(mark)), "the fault was met"
    case.check_whole()


@pytest.mark.parametrize("fault", ["503", "429", "dropped"])
@pytest.mark.parametrize("route", [route for route in EVERY if route != "LFS, LFS verify"])
def test_a_permanent_error_is_one_line_and_shows_nothing(case: HubCase, route, fault):
    case.inject(EVERY[route], times=FOR_EVER, **TRANSIENT[fault])
    with pytest.raises(RetriesExhausted) as caught:
        case.commit()
    message = str(caught.value)
    cause = {"503": "503", "429": "429", "dropped": ""}[fault]
    assert re.match(f"(read|upload to|commit to) {case.client.repo_id}: ", message) and cause in message
    assert "\n" not in message
    assert "a later run will try again" in message and caught.value.transient
    case.hub.clear_faults()
    case.check_nothing_visible()
    assert case.commit().committed
    case.check_whole()


@pytest.mark.parametrize("fault", ["503", "dropped"])
@pytest.mark.parametrize("route", ["LFS, LFS verify"])
def test_a_failing_verify_is_skipped_once_the_batch_reports_the_content(case: HubCase, route, fault):
    """The content is stored by then, and the repeated batch request reports it."""
    case.inject(EVERY[route], times=FOR_EVER, **TRANSIENT[fault])
    assert case.commit().committed
    case.check_whole()


@pytest.mark.parametrize("fault", ["dropped after the work", "504 after the work"])
def test_lost_responses_after_the_commit_make_no_second_commit(case: HubCase, fault):
    case.inject(ROUTES["commit"], times=FOR_EVER, **TRANSIENT[fault])
    done = case.commit()
    assert (done.committed, done.oid) == (False, case.client.head())
    case.check_whole()


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("status", [409, 412])
def test_a_commit_conflict_is_retried(case: HubCase, status, times):
    case.inject(ROUTES["commit"], status=status, times=times)
    assert case.commit().committed
    case.check_whole()


def in_seven_seconds() -> str:
    return email.utils.formatdate(time.time() + 7, usegmt=True)


@pytest.mark.parametrize("form", ["seconds", "date", "RateLimit"])
def test_a_retry_waits_as_long_as_the_headers_require(case: HubCase, form):
    headers = {
        "seconds": {"Retry-After": "7"},
        "date": {"Retry-After": in_seven_seconds()},
        "RateLimit": {"RateLimit": '"api";r=0;t=7', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'},
    }[form]
    slept: list[float] = []
    case.inject(ROUTES["commit"], status=429, headers=headers)
    case.client.retry = Retry(attempts=3, sleep=slept.append)
    case.commit()
    assert len(slept) == 1 and 5.0 <= slept[0] <= 7.0
    case.check_whole()


@pytest.mark.parametrize("route", [*HUB_ONLY, "LFS, LFS part"])
def test_hours_of_429_at_any_route_use_no_attempt(case: HubCase, route):
    """huggingface_hub would sleep uninterruptibly, and fail after five attempts."""
    slept: list[float] = []
    lines: list[str] = []
    case.inject(EVERY[route], status=429, headers={"Retry-After": "3600"}, times=8)
    case.client.retry, case.client.log = Retry(attempts=2, sleep=slept.append), lines.append
    case.commit()
    assert slept == [3600.0] * 8 and len(lines) == 8
    assert all("rate limited (HTTP 429), waiting for the quota, again in 3600.0 s" in line for line in lines)
    case.check_whole()


def test_a_wait_longer_than_the_budget_fails_at_once(case: HubCase):
    case.inject(ROUTES["commit"], status=429, headers={"Retry-After": "86400"}, times=FOR_EVER)
    with pytest.raises(RetriesExhausted, match="HTTP 429"):
        case.commit()
    assert sum(r["path"].endswith("/commit/main") for r in case.hub.requests()[-10:]) == 1


REVOKED = {"X-Error-Message": "Invalid credentials in Authorization header"}


@pytest.mark.parametrize("route", HUB_ONLY)
@pytest.mark.parametrize(
    ("status", "advice"), [(401, "HF_TOKEN"), (403, "write access"), (402, "storage quota")], ids=str
)
def test_a_refusal_midway_is_one_line_and_shows_nothing(case: HubCase, route, status, advice):
    """All requests from this route on are refused, as with a revoked token."""
    case.inject(EVERY[route], status=status, times=FOR_EVER, headers=REVOKED if status == 401 else {})
    with pytest.raises(AccessError) as caught:
        case.commit()
    assert advice in str(caught.value) and "\n" not in str(caught.value) and case.hub.token not in str(caught.value)
    case.hub.clear_faults()
    case.check_nothing_visible()
    assert case.commit().committed
    case.check_whole()


@pytest.mark.parametrize("skip", range(12))
def test_a_token_revoked_at_any_request_names_hf_token(case: HubCase, skip):
    case.hub.inject(
        {"path_regex": "^/(api|datasets)/", "skip": skip, "status": 401, "times": FOR_EVER, "headers": REVOKED}
    )
    try:
        case.commit()
    except AccessError as error:
        assert "set HF_TOKEN" in str(error) and "\n" not in str(error)
        case.hub.clear_faults()
        case.check_nothing_visible()
        case.commit()
    case.hub.clear_faults()
    case.check_whole()


@pytest.mark.parametrize("moment", ["xet", "commit"])
def test_a_repo_deleted_midway_is_one_line_and_created_again(case: HubCase, monkeypatch, moment):
    real = getattr(case.client, moment)

    def delete_first(*arguments):
        case.api.delete_repo(case.client.repo_id, repo_type="dataset")
        monkeypatch.undo()
        return real(*arguments)

    monkeypatch.setattr(case.client, moment, delete_first)
    case.client.retry = Retry(attempts=5, base=0.01)
    with pytest.raises(AccessError, match="check HF_REPO_ID") as caught:
        case.commit()
    assert "\n" not in str(caught.value)
    assert case.commit().committed
    case.check_whole()


def expire_the_first_token(case: HubCase) -> None:
    case.client.create_repo()
    access = case.client.xet()
    assert access is not None
    expired = {"casUrl": access.endpoint, "accessToken": access.token, "exp": int(time.time()) - 60}
    case.inject(XET_TOKEN, status=200, body=expired)


def test_an_expired_content_store_token_is_renewed(case: HubCase):
    expire_the_first_token(case)
    mark = case.hub.mark()
    assert case.commit().committed
    renewals = [request for request in case.hub.requests(mark) if "/xet-write-token/" in request["path"]]
    assert len(renewals) > 1 and all(request["authorized"] for request in renewals)
    case.check_whole()


@pytest.mark.parametrize(("status", "advice"), [(401, "HF_TOKEN"), (403, "write access")])
def test_a_token_that_is_not_renewed_is_one_line(case: HubCase, status, advice):
    expire_the_first_token(case)
    case.inject(XET_TOKEN, status=status, times=FOR_EVER)
    with pytest.raises(AccessError, match=advice) as caught:
        case.commit()
    assert "\n" not in str(caught.value) and case.hub.token not in str(caught.value)
    case.hub.clear_faults()
    case.check_nothing_visible()
    assert case.commit().committed
    case.check_whole()
