"""A scan with errors of S3 in bucket and plan: every episode planned once, or one line and a valid plan."""

import re
from typing import Any

import pytest

from r2_hf_assets.bucket.client import open_store
from r2_hf_assets.bucket.pages import check_access
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import AccessError, RetriesExhausted
from r2_hf_assets.plan.scan import ScanReport, ScanRules, scan
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets_tests.fault.transient_errors import CAUSES, FAULTS, PAGE, end_fault, inject
from r2_hf_assets_tests.support.build_samples import PREFIX, put_folders
from r2_hf_sandbox.s3.faults import FOR_EVER, S3Fault

EPISODES = [f"en/episode-{number}" for number in range(5)] + ["de/a", "de/b"]
TARGETS = {
    "bucket listing": "list-type=2.*prefix=processed",
    "plan listing": "list-type=2.*prefix=state",
    "manifest": "/state/plan/en/chunk_",
    "index": r"/state/plan/index\.json",
    "identity": r"/state/plan/identity\.json",
}
RULES = ScanRules(frozenset({"en", "de"}), episodes_per_chunk=2)


@pytest.fixture
def plan(world, r2) -> PlanStore:
    put_folders(world.store(), *EPISODES)
    return PlanStore(open_store(f"s3://{world.bucket}/state", r2), r2.name, PREFIX)


def rescan(plan: PlanStore, r2) -> ScanReport:
    return scan(Bucket(r2), plan, RULES)


def check_whole(plan: PlanStore) -> None:
    names = [planned.name for planned in plan.planned()]
    episodes = [episode for chunk in plan.read_many(names) for episode in chunk.episodes]
    assert sorted(episodes) == sorted(EPISODES), "every episode once"
    assert names == [("de", 0), ("en", 0), ("en", 1), ("en", 2)]


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "refused"])
def test_a_transient_error_loses_no_episode(plan, proxy, r2, fault, target):
    inject(proxy, fault, target, times=3)
    rescan(plan, r2)
    proxy.clear()
    check_whole(plan)
    assert rescan(plan, r2).new_chunks == []


FOR_EVER_CASES = [(fault, "bucket listing") for fault in FAULTS]
FOR_EVER_CASES += [(fault, target) for fault in ("503 SlowDown", "reset") for target in TARGETS]


@pytest.mark.parametrize(("fault", "target"), FOR_EVER_CASES)
def test_a_permanent_error_is_one_line_and_a_later_scan_plans_all(plan, proxy, r2, fault, target):
    inject(proxy, fault, TARGETS[target])
    with pytest.raises(RetriesExhausted) as caught:
        rescan(plan, r2)
    assert CAUSES[fault] in str(caught.value) and "\n" not in str(caught.value) and caught.value.transient
    end_fault(proxy, fault)
    rescan(plan, r2)
    check_whole(plan)


LOST: dict[str, dict[str, Any]] = {"reset": {"kind": "reset"}, "503": {"status": 503, "code": "SlowDown"}}


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("response", LOST)
def test_a_chunk_whose_response_was_lost_is_not_planned_twice(plan, proxy, r2, response, times):
    proxy.inject(S3Fault("/state/plan/en/chunk_0000", method="PUT", after=True, times=times, **LOST[response]))
    rescan(plan, r2)
    check_whole(plan)


def test_a_chunk_whose_responses_are_all_lost_is_read_by_the_next_scan(plan, proxy, r2):
    proxy.inject(S3Fault("/state/plan/en/chunk_0000", "reset", method="PUT", after=True, times=FOR_EVER))
    with pytest.raises(RetriesExhausted):
        rescan(plan, r2)
    proxy.clear()
    assert [chunk.number for chunk in rescan(plan, r2).new_chunks if chunk.language == "en"] == [1, 2]
    check_whole(plan)


@pytest.mark.parametrize("target", ["bucket listing", "plan listing"])
def test_an_html_page_instead_of_a_listing_loses_no_episode(plan, proxy, r2, target):
    """object_store reads any XML as a listing, so a scan may read an empty bucket or plan. It plans nothing twice."""
    rescan(plan, r2)
    proxy.inject(S3Fault(TARGETS[target], status=200, body=PAGE, times=1))
    rescan(plan, r2)
    proxy.clear()
    check_whole(plan)
    assert rescan(plan, r2).new_chunks == []


@pytest.mark.parametrize("target", [TARGETS["bucket listing"], TARGETS["manifest"]], ids=["listing", "manifest"])
@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (403, "AccessDenied", "its rights"),
        (404, "NoSuchBucket", "R2_BUCKET|STATE_URL"),
        (401, "Unauthorized", "R2_ACCESS_KEY_ID"),
    ],
)
def test_a_refusal_is_one_line(plan, proxy, r2, target, status, code, advice):
    proxy.inject(S3Fault(target, status=status, code=code, times=FOR_EVER))
    with pytest.raises(AccessError) as caught:
        rescan(plan, r2)
    assert re.search(advice, str(caught.value)) and "\n" not in str(caught.value) and not caught.value.transient
    proxy.clear()
    rescan(plan, r2)
    check_whole(plan)


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "refused"])
def test_the_first_request_to_the_bucket_is_retried(world, proxy, store, fault):
    inject(proxy, fault, "list-type=2", times=2)
    check_access(store, PREFIX)
    inject(proxy, fault, "list-type=2")
    with pytest.raises(RetriesExhausted) as caught:
        check_access(store, PREFIX)
    assert "\n" not in str(caught.value) and caught.value.transient
