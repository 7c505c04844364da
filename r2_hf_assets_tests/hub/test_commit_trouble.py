"""commit_chunk when others commit, answers are lost, and the Hub is busy, wrong or gone."""

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


def test_a_head_that_moved_is_looked_at_again():
    repo = FakeRepo()
    repo.before("commit", lambda: repo.put(remote("data/de/chunk-00001.parquet", b"theirs")))
    done = commit(repo)
    assert (done.committed, done.oid) == (True, "oid-2")
    assert set(repo.data) == {ONE, "data/de/chunk-00001.parquet"}
    assert (repo.calls["commit"], repo.calls["head"]) == (2, 2)


def test_a_head_that_moves_again_and_again_is_followed():
    repo = FakeRepo()
    for path in ("data/de/0", "data/de/1", "data/de/2"):
        repo.before("commit", partial(repo.put, remote(path, b"x")))
    commit(repo, built(b"part 0", b"part 1"))
    assert (repo.calls["commit"], len(repo.named)) == (4, 2)


def test_somebody_else_committing_the_same_chunk_is_found():
    repo = FakeRepo()
    repo.before("commit", lambda: repo.put(remote(ONE, b"rows")))
    done = commit(repo)
    assert done == CommitRecord("oid-1", repo.commit_url("oid-1"), False, (), ())
    assert len(repo.revisions) == 2


def test_stale_parts_that_come_in_between_are_seen():
    repo = FakeRepo()
    repo.before("commit", lambda: repo.put(remote("data/en/chunk-00007-part-00.parquet", b"old")))
    assert commit(repo).removed == ("data/en/chunk-00007-part-00.parquet",)
    assert set(repo.data) == {ONE}


LOST = [500, 502, 503, 504, 408, 429, ConnectionResetError("reset"), TimeoutError("no answer")]


@pytest.mark.parametrize("error", LOST, ids=str)
def test_an_answer_that_is_lost_after_the_commit_is_no_second_commit(error):
    repo = FakeRepo()
    repo.fail("commit", error, after=True)
    done = commit(repo)
    assert (len(repo.revisions), repo.calls["commit"]) == (2, 1)
    assert (done.oid, done.committed) == ("oid-1", False)


@pytest.mark.parametrize("call", ["head", "files", "commit"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_trouble_that_passes_costs_nothing_wherever_it_comes(call, after):
    repo = FakeRepo()
    repo.fail(call, 503, 429, 500, after=after)
    commit(repo)
    assert len(repo.revisions) == 2 and repo.data == {ONE: remote(ONE, b"rows")}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_making_the_repo_may_be_repeated(after):
    repo = FakeRepo(exists=False)
    repo.fail("create_repo", 500, 409, after=after)
    commit(repo)
    assert repo.data == {ONE: remote(ONE, b"rows")} and len(repo.revisions) == 2


def test_a_repo_that_was_made_and_is_not_shown_yet_is_waited_for(monkeypatch):
    repo = FakeRepo(exists=False)
    answers = iter([None, None, None, "shown"])
    monkeypatch.setattr(repo, "head", lambda: repo._head() if next(answers, "shown") else None)
    assert commit(repo).committed
    assert repo.calls["create_repo"] == 2 and repo.data == {ONE: remote(ONE, b"rows")}


def test_a_repo_that_is_never_shown_is_given_up(monkeypatch):
    repo = FakeRepo(exists=False)
    monkeypatch.setattr(repo, "head", lambda: None)
    with pytest.raises(RetriesExhausted, match="me/speech"):
        commit(repo)
    assert repo.calls["commit"] == 0


class Clock:
    """Time that passes only when someone sleeps."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def retry(self, **changes) -> Retry:
        return Retry(sleep=self.slept.append, clock=lambda: sum(self.slept), jitter=lambda: 1.0, **changes)


@pytest.mark.parametrize("headers", [{"Retry-After": "47"}, {"RateLimit": '"api";r=0;t=47'}])
def test_a_busy_hub_is_given_the_time_it_asks_for(headers):
    repo, clock = FakeRepo(), Clock()
    repo.fail("commit", 429, headers=headers)
    repo.retry = clock.retry()
    commit(repo)
    assert clock.slept == [47.0] and repo.calls["commit"] == 2


def test_every_wait_is_told():
    said: list[str] = []
    repo = FakeRepo()
    repo.fail("commit", 503, 412)
    repo.log = said.append
    commit(repo)
    assert len(said) == 2
    assert "commit to me/speech: service unavailable (HTTP 503)" in said[0] and "HTTP 412" in said[1]


@pytest.mark.parametrize("call", ["head", "files", "commit"])
@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "HF_TOKEN"), (403, "write access"), (404, "HF_REPO_ID"), (402, "quota"), (422, "HTTP 422")],
)
def test_a_refusal_is_one_line_and_not_repeated(call, status, advice):
    repo = FakeRepo()
    repo.fail(call, status)
    with pytest.raises(AccessError) as caught:
        commit(repo)
    said = str(caught.value)
    assert said.startswith("the Hub refuses me/speech: ") and advice in said and "\n" not in said
    assert caught.value.__suppress_context__ and not caught.value.transient
    assert repo.calls[call] == 1 and len(repo.revisions) == 1


@pytest.mark.parametrize("there", [[], [remote(ONE, b"rows"), remote("data/en/chunk-00007-part-00.parquet", b"old")]])
def test_a_400_to_a_commit_whose_content_is_there_is_a_refusal(there):
    """Not a chunk that has to be built again."""
    repo = FakeRepo(there)
    repo.fail("commit", 400)
    with pytest.raises(AccessError, match="the Hub refuses the commit of en chunk-00007: 400 Error") as refused:
        commit(repo)
    assert refused.value.systemic and not isinstance(refused.value, DamagedShard)


@pytest.mark.parametrize("call", ["head", "files", "commit"])
def test_it_gives_up_and_nothing_is_half_visible(call):
    repo = FakeRepo()
    repo.fail(call, *[503] * 99)
    with pytest.raises(RetriesExhausted, match="commit to me/speech: service unavailable") as caught:
        commit(repo)
    assert (repo.calls[call], len(repo.revisions)) == (NO_WAIT.attempts, 1)
    assert caught.value.transient


def test_what_is_no_trouble_of_the_hub_is_raised_as_it_is():
    repo = FakeRepo()
    repo.fail("files", KeyError("a bug"))
    with pytest.raises(KeyError, match="a bug"):
        commit(repo)
    assert repo.calls["files"] == 1


def test_eight_committers_at_once_all_get_in():
    """All of them look at the same head before the first commits, so at least seven are refused at first."""
    repo = FakeRepo([remote("README.md", b"card")])
    together = threading.Barrier(8)
    for _ in range(8):
        repo.before("commit", lambda: together.wait(20))
    records = [built(b"chunk %d" % number, number=number) for number in range(8)]
    repo.retry = Retry(attempts=COMMIT_RETRY.attempts, sleep=lambda seconds: None)
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda record: commit(repo, record), records))
    assert all(record.committed for record in done)
    assert len({record.oid for record in done}) == 8
    assert len(repo.revisions) == 9 and repo.calls["commit"] >= 15
    assert len(repo.named) == 8
    expected = {f"data/en/chunk-{n:05d}.parquet": b"chunk %d" % n for n in range(8)}
    assert repo.data == {path: remote(path, data) for path, data in expected.items()}


def test_committers_of_the_same_chunk_make_one_commit():
    repo = FakeRepo()
    together = threading.Barrier(4)
    for _ in range(4):
        repo.before("commit", lambda: together.wait(20))
    record = built(b"rows")
    repo.retry = Retry(attempts=COMMIT_RETRY.attempts, sleep=lambda seconds: None)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: commit(repo, record), range(4)))
    assert sorted(record.committed for record in done) == [False, False, False, True]
    assert {record.oid for record in done} == {"oid-1"} and len(repo.revisions) == 2
