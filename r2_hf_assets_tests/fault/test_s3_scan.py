"""A scan, bucket and plan both on S3 in trouble: every episode planned once, or one line and a sound plan."""

from typing import Any

import pytest

from r2_hf_assets.bucket.client import open_store
from r2_hf_assets.bucket.pages import check_access
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import AccessError, RetriesExhausted
from r2_hf_assets.plan.scan import ScanReport, ScanRules, scan
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets_tests.fault.transient_errors import CAUSES, PAGE, TROUBLES, end, order
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
    chunks = plan.read_many((planned.language, planned.number) for planned in plan.planned())
    found = [episode for chunk in chunks for episode in chunk.episodes]
    assert sorted(found) == sorted(EPISODES), "every episode once"
    assert [(p.language, p.number) for p in plan.planned()] == [("de", 0), ("en", 0), ("en", 1), ("en", 2)]


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("trouble", [name for name in TROUBLES if name != "refused"])
def test_trouble_that_passes_costs_no_episode(plan, proxy, r2, trouble, target):
    order(proxy, trouble, target, times=3)
    rescan(plan, r2)
    proxy.clear()
    check_whole(plan)
    assert rescan(plan, r2).new_chunks == []


FOR_EVER_CASES = [(trouble, "bucket listing") for trouble in TROUBLES]
FOR_EVER_CASES += [(trouble, target) for trouble in ("503 SlowDown", "reset") for target in TARGETS]


@pytest.mark.parametrize(("trouble", "target"), FOR_EVER_CASES)
def test_trouble_for_ever_is_one_line_and_a_later_scan_plans_all(plan, proxy, r2, trouble, target):
    order(proxy, trouble, TARGETS[target])
    with pytest.raises(RetriesExhausted) as caught:
        rescan(plan, r2)
    assert CAUSES[trouble] in str(caught.value) and "\n" not in str(caught.value) and caught.value.transient
    end(proxy, trouble)
    rescan(plan, r2)
    check_whole(plan)


LOST: dict[str, dict[str, Any]] = {"reset": {"kind": "reset"}, "503": {"status": 503, "code": "SlowDown"}}


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("answer", LOST)
def test_a_chunk_whose_answer_was_lost_is_not_planned_twice(plan, proxy, r2, answer, times):
    proxy.inject(S3Fault("/state/plan/en/chunk_0000", method="PUT", after=True, times=times, **LOST[answer]))
    rescan(plan, r2)
    check_whole(plan)


def test_a_chunk_whose_answers_are_all_lost_is_known_to_the_next_scan(plan, proxy, r2):
    proxy.inject(S3Fault("/state/plan/en/chunk_0000", "reset", method="PUT", after=True, times=FOR_EVER))
    with pytest.raises(RetriesExhausted):
        rescan(plan, r2)
    proxy.clear()
    assert [chunk.number for chunk in rescan(plan, r2).new_chunks if chunk.language == "en"] == [1, 2]
    check_whole(plan)


@pytest.mark.parametrize("target", ["bucket listing", "plan listing"])
def test_a_page_where_a_listing_should_be_loses_nothing_for_good(plan, proxy, r2, target):
    """object_store reads any XML as a listing, so a scan may see an empty bucket or plan: it appends nothing wrong."""
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
        (404, "NoSuchBucket", "R2_BUCKET"),
        (401, "Unauthorized", "R2_ACCESS_KEY_ID"),
    ],
)
def test_a_refusal_is_one_line(plan, proxy, r2, target, status, code, advice):
    proxy.inject(S3Fault(target, status=status, code=code, times=FOR_EVER))
    with pytest.raises(AccessError) as caught:
        rescan(plan, r2)
    assert advice in str(caught.value) and "\n" not in str(caught.value) and not caught.value.transient
    proxy.clear()
    rescan(plan, r2)
    check_whole(plan)


@pytest.mark.parametrize("trouble", [name for name in TROUBLES if name != "refused"])
def test_the_first_look_at_the_bucket_has_patience_too(world, proxy, store, trouble):
    order(proxy, trouble, "list-type=2", times=2)
    check_access(store, PREFIX)
    order(proxy, trouble, "list-type=2")
    with pytest.raises(RetriesExhausted) as caught:
        check_access(store, PREFIX)
    assert "\n" not in str(caught.value) and caught.value.transient
