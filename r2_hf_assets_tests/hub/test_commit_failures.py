"""commit_chunk with concurrent commits, lost responses, transient errors and refusals of the Hub."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from r2_hf_assets.errors import AccessError, DamagedShard, RetriesExhausted
from r2_hf_assets.hub.commit import CommitRecord, commit_chunk
from r2_hf_assets.retry import COMMIT_RETRY, Retry
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets_tests.hub.fake_repo import FakeRepo, built, remote
from r2_hf_assets_tests.support.build_samples import NO_WAIT

ONE = "data/en/chunk-00007.parquet"


def commit(repo: FakeRepo, record: BuildRecord | None = None) -> CommitRecord:
    return commit_chunk(repo, record or built(b"rows"), repo.claim())


def test_after_a_concurrent_commit_the_head_is_read_again():
    repo = FakeRepo()
    repo.before("commit", lambda: repo.put(remote("data/de/chunk-00001.parquet", b"other")))
    done = commit(repo)
    assert (done.committed, done.oid) == (True, "oid-2")
    assert set(repo.data) == {ONE, "data/de/chunk-00001.parquet"}
    assert (repo.calls["commit"], repo.calls["head"]) == (2, 2)


def test_after_several_concurrent_commits_the_commit_succeeds():
    repo = FakeRepo()
    for path in ("data/de/0", "data/de/1", "data/de/2"):
        repo.before("commit", partial(repo.put, remote(path, b"x")))
    commit(repo, built(b"part 0", b"part 1"))
    assert (repo.calls["commit"], len(repo.pointers)) == (4, 2)


def test_a_concurrent_commit_of_the_same_chunk_is_recorded():
    repo = FakeRepo()
    repo.before("commit", lambda: repo.put(remote(ONE, b"rows")))
    done = commit(repo)
    assert done == CommitRecord("oid-1", repo.commit_url("oid-1"), False, (), ())
    assert len(repo.revisions) == 2


def test_stale_parts_of_a_concurrent_commit_are_removed():
    repo = FakeRepo()
    repo.before("commit", lambda: repo.put(remote("data/en/chunk-00007-part-00.parquet", b"old")))
    assert commit(repo).removed == ("data/en/chunk-00007-part-00.parquet",)
    assert set(repo.data) == {ONE}


LOST = [500, 502, 503, 504, 408, 429, ConnectionResetError("reset"), TimeoutError("no response")]


@pytest.mark.parametrize("error", LOST, ids=str)
def test_a_response_lost_after_the_commit_makes_no_second_commit(error):
    repo = FakeRepo()
    repo.fail("commit", error, after=True)
    done = commit(repo)
    assert (len(repo.revisions), repo.calls["commit"]) == (2, 1)
    assert (done.oid, done.committed) == ("oid-1", False)


@pytest.mark.parametrize("call", ["head", "files", "commit"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_transient_errors_of_any_call_are_retried(call, after):
    repo = FakeRepo()
    repo.fail(call, 503, 429, 500, after=after)
    commit(repo)
    assert len(repo.revisions) == 2 and repo.data == {ONE: remote(ONE, b"rows")}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_creating_the_repo_is_retried(after):
    repo = FakeRepo(exists=False)
    repo.fail("create_repo", 500, 409, after=after)
    commit(repo)
    assert repo.data == {ONE: remote(ONE, b"rows")} and len(repo.revisions) == 2


def test_a_created_repo_that_is_not_visible_yet_is_retried(monkeypatch):
    repo = FakeRepo(exists=False)
    visible = iter([False, False, False])
    monkeypatch.setattr(repo, "head", lambda: repo._head() if next(visible, True) else None)
    assert commit(repo).committed
    assert repo.calls["create_repo"] == 2 and repo.data == {ONE: remote(ONE, b"rows")}


def test_a_repo_that_never_becomes_visible_exhausts_the_retries(monkeypatch):
    repo = FakeRepo(exists=False)
    monkeypatch.setattr(repo, "head", lambda: None)
    with pytest.raises(RetriesExhausted, match="me/speech"):
        commit(repo)
    assert repo.calls["commit"] == 0


class Clock:
    """A clock that only `sleep` advances."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def retry(self, **changes) -> Retry:
        return Retry(sleep=self.slept.append, clock=lambda: sum(self.slept), jitter=lambda: 1.0, **changes)


@pytest.mark.parametrize("headers", [{"Retry-After": "47"}, {"RateLimit": '"api";r=0;t=47'}])
def test_the_wait_that_a_429_requests_is_honoured(headers):
    repo, clock = FakeRepo(), Clock()
    repo.fail("commit", 429, headers=headers)
    repo.retry = clock.retry()
    commit(repo)
    assert clock.slept == [47.0] and repo.calls["commit"] == 2


def test_every_retry_is_logged():
    lines: list[str] = []
    repo = FakeRepo()
    repo.fail("commit", 503, 412)
    repo.log = lines.append
    commit(repo)
    assert len(lines) == 2
    assert "commit to me/speech: service unavailable (HTTP 503)" in lines[0] and "HTTP 412" in lines[1]


@pytest.mark.parametrize("call", ["head", "files", "commit"])
@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "HF_TOKEN"), (403, "write access"), (404, "HF_REPO_ID"), (402, "quota"), (422, "HTTP 422")],
)
def test_a_refusal_is_one_line_and_not_retried(call, status, advice):
    repo = FakeRepo()
    repo.fail(call, status)
    with pytest.raises(AccessError) as caught:
        commit(repo)
    message = str(caught.value)
    assert message.startswith("the Hub refuses me/speech: ") and advice in message and "\n" not in message
    assert caught.value.__suppress_context__ and not caught.value.transient
    assert repo.calls[call] == 1 and len(repo.revisions) == 1


@pytest.mark.parametrize(
    "existing", [[], [remote(ONE, b"rows"), remote("data/en/chunk-00007-part-00.parquet", b"old")]]
)
def test_a_400_to_a_commit_of_stored_content_is_an_access_error(existing):
    repo = FakeRepo(existing)
    repo.fail("commit", 400)
    with pytest.raises(AccessError, match="the Hub refuses the commit of en chunk-00007: 400 Error") as refused:
        commit(repo)
    assert refused.value.systemic and not isinstance(refused.value, DamagedShard)


@pytest.mark.parametrize("call", ["head", "files", "commit"])
def test_exhausted_retries_change_nothing(call):
    repo = FakeRepo()
    repo.fail(call, *[503] * 99)
    with pytest.raises(RetriesExhausted, match="commit to me/speech: service unavailable") as caught:
        commit(repo)
    assert (repo.calls[call], len(repo.revisions)) == (NO_WAIT.attempts, 1)
    assert caught.value.transient


def test_an_error_that_is_not_the_hubs_is_raised_unchanged():
    repo = FakeRepo()
    repo.fail("files", KeyError("a bug"))
    with pytest.raises(KeyError, match="a bug"):
        commit(repo)
    assert repo.calls["files"] == 1


def test_eight_concurrent_committers_all_succeed():
    """All read the same head before the first commit, so at least seven are rejected once."""
    repo = FakeRepo([remote("README.md", b"card")])
    barrier = threading.Barrier(8)
    for _ in range(8):
        repo.before("commit", lambda: barrier.wait(20))
    records = [built(b"chunk %d" % number, number=number) for number in range(8)]
    repo.retry = Retry(attempts=COMMIT_RETRY.attempts, sleep=lambda seconds: None)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda record: commit(repo, record), records))
    assert all(record.committed for record in results)
    assert len({record.oid for record in results}) == 8
    assert len(repo.revisions) == 9 and repo.calls["commit"] >= 15
    assert len(repo.pointers) == 8
    expected = {f"data/en/chunk-{n:05d}.parquet": b"chunk %d" % n for n in range(8)}
    assert repo.data == {path: remote(path, data) for path, data in expected.items()}


def test_concurrent_committers_of_one_chunk_make_one_commit():
    repo = FakeRepo()
    barrier = threading.Barrier(4)
    for _ in range(4):
        repo.before("commit", lambda: barrier.wait(20))
    record = built(b"rows")
    repo.retry = Retry(attempts=COMMIT_RETRY.attempts, sleep=lambda seconds: None)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: commit(repo, record), range(4)))
    assert sorted(record.committed for record in results) == [False, False, False, True]
    assert {record.oid for record in results} == {"oid-1"} and len(repo.revisions) == 2
