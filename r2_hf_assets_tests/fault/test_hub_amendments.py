"""The copy of the log of amendments with errors of the Hub, and concurrent commits: published once, and a fence."""

import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from obstore.store import MemoryStore

from r2_hf_assets.errors import AccessError, Amended, RetriesExhausted
from r2_hf_assets.hub import timeouts
from r2_hf_assets.hub.amendments import publish_amendments, read_amendments
from r2_hf_assets.hub.commit import commit_chunk, prepare_repo
from r2_hf_assets.hub.ownership import Claim
from r2_hf_assets.plan.amendments import REMOVE, Amendment, Target
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.retry import Retry
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets_tests.fault.hub_case import FOR_EVER, ROUTES, HubCase
from r2_hf_assets_tests.hub.uploads import upload_chunk
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PLAN_ID, PREFIX, chunk_of

LOG = [
    Amendment(number, REMOVE, (Target(f"en/{number}", ("en", 7)),), "private", "2026-11-29T06:00:00+00:00")
    for number in range(3)
]
PUBLISH = {
    "head": ROUTES["head"],
    "owner": ("GET", "/resolve/"),
    "list": ("GET", "/tree/"),
    "commit": ROUTES["commit"],
}
TRANSIENT: dict[str, dict[str, Any]] = {str(status): {"status": status} for status in (429, 500, 503, 504)}
TRANSIENT |= {"dropped": {"drop": True}, "silent": {"silence": "read"}}
LOST: dict[str, dict[str, Any]] = {"dropped": {"drop": True, "after": True}, "504": {"status": 504, "after": True}}
LOST |= {"silent": {"silence": "read", "after": True}}
CONFLICTS = 5


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in timeouts.TIMEOUTS:
        monkeypatch.setitem(timeouts.TIMEOUTS, kind, 1.0)


@pytest.fixture
def repo(case: HubCase) -> HubCase:
    """An existing repo without chunks."""
    prepare_repo(case.client, case.claim)
    return case


def copies(case: HubCase) -> list[str]:
    """Return the titles of the commits of the log, the first one first."""
    commits = case.api.list_repo_commits(case.client.repo_id, repo_type="dataset")
    return [commit.title for commit in reversed(commits) if commit.title.startswith("Record ")]


def check_published(case: HubCase, *titles: str) -> None:
    head = case.client.head()
    assert head is not None
    assert read_amendments(case.client, head) == [replace(entry, reason="") for entry in LOG]
    assert copies(case) == list(titles or ("Record amendments 0 (remove), 1 (remove), 2 (remove)",))


@pytest.mark.parametrize("fault", TRANSIENT)
@pytest.mark.parametrize("route", PUBLISH)
def test_a_transient_error_publishes_each_entry_once(repo: HubCase, route: str, fault: str) -> None:
    repo.inject(PUBLISH[route], times=2, **TRANSIENT[fault])
    mark = repo.hub.mark()
    publish_amendments(repo.client, PLAN_ID, LOG)
    assert any(request.get("fault") for request in repo.hub.requests(mark)), "the fault was met"
    check_published(repo)


@pytest.mark.parametrize("times", [1, FOR_EVER])
@pytest.mark.parametrize("fault", LOST)
def test_lost_responses_make_no_second_commit(repo: HubCase, fault: str, times: int) -> None:
    repo.inject(ROUTES["commit"], times=times, **LOST[fault])
    publish_amendments(repo.client, PLAN_ID, LOG)
    publish_amendments(repo.client, PLAN_ID, LOG)
    check_published(repo)


@pytest.mark.parametrize("status", [409, 412])
def test_a_storm_of_conflicts_is_outlasted(repo: HubCase, status: int) -> None:
    repo.inject(ROUTES["commit"], status=status, times=CONFLICTS)
    publish_amendments(repo.client, PLAN_ID, LOG)
    check_published(repo)


@pytest.mark.parametrize("fault", ["412", "503", "403"])
def test_a_permanent_error_is_one_line_and_the_next_call_publishes(repo: HubCase, fault: str) -> None:
    publish_amendments(repo.client, PLAN_ID, LOG[:1])
    repo.inject(ROUTES["commit"], status=int(fault), times=FOR_EVER)
    with pytest.raises(AccessError if fault == "403" else RetriesExhausted) as caught:
        publish_amendments(repo.client, PLAN_ID, LOG)
    assert "\n" not in str(caught.value) and repo.hub.token not in str(caught.value)
    if fault != "403":
        assert re.match(f"commit to {repo.client.repo_id}: ", str(caught.value))
    repo.hub.clear_faults()
    publish_amendments(repo.client, PLAN_ID, LOG)
    check_published(repo, "Record amendments 0 (remove)", "Record amendments 1 (remove), 2 (remove)")


def test_calls_at_once_publish_each_entry_once(repo: HubCase) -> None:
    repo.client.retry = Retry(attempts=30, base=0.01, cap=0.1)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda count: publish_amendments(repo.client, PLAN_ID, LOG[:count]), (1, 2, 3, 3)))
    check_published(repo, *copies(repo))
    numbers = Counter(number for title in copies(repo) for number in re.findall(r"\d", title))
    assert set(numbers.values()) == {1}


CHUNKS = 12


def test_no_commit_after_the_copy_has_what_was_removed(repo: HubCase) -> None:
    """Runs of many chunks commit at once while every other chunk is amended.

    Those have read head and plan before the amendment, and go on once its copy is published.
    """
    case, plan = repo, PlanStore(MemoryStore(), "podcasts", PREFIX, NO_WAIT)
    case.client.retry = Retry(attempts=200, base=0.01, cap=0.05)
    plan.check_identity()
    records: list[BuildRecord] = []
    for number in range(CHUNKS):
        chunk = chunk_of(f"en/{number}", number=number)
        assert plan.create(chunk)
        record = upload_chunk(case.client, case.folder, b"PAR1 of chunk %d" % number, number=number)
        records.append(replace(record, digest=chunk.digest))
    removed, begun, published = range(1, CHUNKS, 2), threading.Semaphore(0), threading.Event()

    def is_planned(name: tuple[str, int], digest: str) -> bool:
        chunk = plan.find(*name)
        if name[1] in removed:
            begun.release()
            published.wait(60)
        return chunk is not None and chunk.digest == digest

    claim = Claim(PLAN_ID, lambda _: {}, is_planned)

    def run(record: BuildRecord) -> str:
        try:
            return commit_chunk(case.client, record, claim).oid
        except Amended as refused:
            assert "\n" not in str(refused)
            return ""

    with ThreadPoolExecutor(CHUNKS) as pool:
        runs = [pool.submit(run, record) for record in records]
        for _ in removed:
            assert begun.acquire(timeout=60)
        plan.amend(REMOVE, [Target(f"en/{number}", ("en", number)) for number in removed], "private", datetime.now(UTC))
        publish_amendments(case.client, PLAN_ID, plan.amendments())
        published.set()
        oids = [future.result() for future in runs]
    assert [number for number in range(CHUNKS) if oids[number]] == [*range(0, CHUNKS, 2)], "the others are committed"
    files = case.api.list_repo_files(case.client.repo_id, repo_type="dataset")
    assert sum(path.startswith("data/") for path in files) == case.data_commits() == CHUNKS // 2
