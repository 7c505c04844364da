"""The card's commit: one when figures changed, else none; chunks and people's edits have precedence."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from huggingface_hub import DatasetCard

from r2_hf_assets.errors import CardError, RetriesExhausted
from r2_hf_assets.hub.card.commit import CardRecord, commit_card
from r2_hf_assets.hub.card.merge import BEGIN, CARD_PATH
from r2_hf_assets.hub.card.text import CARD, PICTURE_PATH
from r2_hf_assets.hub.commit import commit_chunk
from r2_hf_assets.retry import CARD_RETRY, COMMIT_RETRY, Retry
from r2_hf_assets.shards.picture import draw
from r2_hf_assets_tests.hub.card.samples import THEN, chunk, facts
from r2_hf_assets_tests.hub.conftest import client, commit_files
from r2_hf_assets_tests.hub.fake_repo import FakeRepo, built, remote
from r2_hf_assets_tests.hub.uploads import CLAIM, upload_chunk

FACTS = facts(chunk("de"), chunk("en"))
MORE = facts(chunk("de"), chunk("en"), chunk("en", 1))


def write(repo, new_facts=FACTS, at=THEN.at, **more):
    return commit_card(repo, new_facts, at, CLAIM.plan_id, **more)


def repo_with_card() -> FakeRepo:
    repo = FakeRepo([remote("data/de/chunk-00000.parquet", b"rows")])
    repo.write(CARD_PATH, CARD)
    return repo


def test_text_and_picture_are_one_commit_and_repeating_makes_none():
    repo = repo_with_card()
    before = len(repo.revisions)
    record = write(repo)
    assert record.committed and record.oid == repo.head()
    assert len(repo.revisions) == before + 1
    text = repo.text(CARD_PATH)
    assert repo.text(PICTURE_PATH) == draw(FACTS.all.stats)
    assert f"As of {THEN.at}, at revision [`oid-{before - 1}`]" in text
    again = write(repo, at="2027-01-01 00:00 UTC")
    assert (again.committed, again.oid, repo.text(CARD_PATH)) == (False, record.oid, text)
    assert len(repo.revisions) == before + 1


def test_new_figures_are_one_more_commit():
    repo = repo_with_card()
    write(repo)
    before = len(repo.revisions)
    assert write(repo, MORE).committed
    assert len(repo.revisions) == before + 1
    assert repo.text(PICTURE_PATH) == draw(MORE.all.stats)


def test_a_removed_picture_is_restored_and_without_figures_there_is_none():
    repo = repo_with_card()
    write(repo)
    text = repo.text(CARD_PATH)
    repo.revisions.append({path: file for path, file in repo.now.items() if path != PICTURE_PATH})
    assert write(repo).committed
    assert repo.text(PICTURE_PATH) and repo.text(CARD_PATH) == text
    bare = repo_with_card()
    assert write(bare, facts(chunk("de", counted=False))).committed
    assert PICTURE_PATH not in bare.now


def test_a_card_of_an_earlier_release_links_the_new_picture_and_keeps_the_old_file():
    repo = repo_with_card()
    write(repo)
    repo.write(CARD_PATH, repo.text(CARD_PATH).replace("assets/quality.svg", "assets/quality.png").encode())
    repo.write("assets/quality.png", b"\x89PNG")
    write(repo)
    assert f"]({PICTURE_PATH})" in repo.text(CARD_PATH)
    assert {PICTURE_PATH, "assets/quality.png"} <= {*repo.now} and not write(repo).committed


def test_without_a_repo_no_card_is_committed():
    assert write(FakeRepo(exists=False)) == CardRecord(None, False)


def test_a_repo_without_a_card_receives_one():
    repo = FakeRepo()
    assert write(repo).committed
    assert BEGIN in repo.text(CARD_PATH)


def test_a_concurrent_commit_of_a_chunk_precedes_the_card():
    repo, record = repo_with_card(), built(b"rows")
    repo.before("commit", lambda: commit_chunk(repo, record, repo.claim()))
    log: list[str] = []
    repo.log = log.append
    done = write(repo)
    assert done.committed and "data/en/chunk-00007.parquet" in repo.now
    assert repo.calls["commit"] == 3
    assert len(log) == 1 and "HTTP 412" in log[0]


def test_a_persons_concurrent_edit_is_kept():
    repo = repo_with_card()
    edited = b"---\nlicense: mit\n---\n# Mine\n"
    repo.before("commit", lambda: repo.write(CARD_PATH, edited))
    write(repo)
    text = repo.text(CARD_PATH)
    assert text.startswith("---\nlicense: mit\n") and "\n# Mine\n" in text and BEGIN in text


def test_a_concurrent_commit_of_the_same_card_is_recorded():
    repo = repo_with_card()
    repo.before("commit", lambda: write(repo))
    done = write(repo)
    assert not done.committed and done.oid == repo.head()
    assert repo.calls["commit"] == 2


@pytest.mark.parametrize("error", [500, 503, 409, ConnectionResetError("reset")])
def test_a_response_lost_after_the_commit_makes_no_second_commit(error):
    repo = repo_with_card()
    repo.fail("commit", error, after=True)
    before = len(repo.revisions)
    assert not write(repo).committed
    assert len(repo.revisions) == before + 1 and BEGIN in repo.text(CARD_PATH)


def test_exhausted_retries_leave_the_old_card():
    repo = repo_with_card()
    repo.fail("commit", *[412] * CARD_RETRY.attempts)
    with pytest.raises(RetriesExhausted, match=r"write the card of me/speech: .* \(HTTP 412\)"):
        write(repo)
    assert repo.text(CARD_PATH) == CARD.decode()


def test_chunks_retry_sooner_and_more_often_than_cards():
    assert CARD_RETRY.base >= 4 * COMMIT_RETRY.base
    assert CARD_RETRY.attempts < COMMIT_RETRY.attempts


def test_a_damaged_card_is_not_overwritten():
    repo = repo_with_card()
    repo.write(CARD_PATH, b"---\na: b: c\n---\nMine\n")
    with pytest.raises(CardError, match="its YAML can't be read"):
        write(repo)
    assert repo.calls["commit"] == 0


def test_yaml_that_the_hub_refuses_is_one_line():
    repo = repo_with_card()
    repo.card_errors = '"license" must be one of these'
    with pytest.raises(CardError) as refused:
        write(repo)
    assert str(refused.value) == (
        'the Hub refuses the YAML of README.md: "license" must be one of these; fix it on the Hub'
    )
    assert repo.calls["commit"] == 0


def test_a_history_with_fewer_chunks_does_not_shrink_the_card():
    repo = repo_with_card()
    write(repo, MORE)
    with pytest.raises(CardError, match=r"counts 3 chunks and this history 2, .* `r2-hf reconcile --record`"):
        write(repo)
    assert write(repo, may_shrink=True).committed
    assert write(repo, facts(chunk("fr"), chunk("no"))).committed, "as many chunks, but others"


# On the local Hub, with the real client.


QUICK = Retry(attempts=40, sleep=lambda seconds: time.sleep(seconds / 100))


def test_concurrent_cards_and_chunks_are_all_committed(world, repo, tmp_path):
    barrier = threading.Barrier(4)
    bodies = [f"PAR1 {number}".encode() * 500 for number in range(3)]
    records = [upload_chunk(repo, tmp_path, body, number=number) for number, body in enumerate(bodies)]

    def chunks(record):
        barrier.wait(20)
        return commit_chunk(client(world, retry=QUICK), record, CLAIM)

    def cards():
        barrier.wait(20)
        return [write(client(world, retry=QUICK), about).committed for about in (FACTS, MORE)]

    with ThreadPoolExecutor(4) as pool:
        card, *commits = [pool.submit(cards), *(pool.submit(chunks, record) for record in records)]
        assert [commit.result().committed for commit in commits] == [True] * 3
        assert card.result() == [True, True]
    assert world.files() == [f"data/en/chunk-{number:05d}.parquet" for number in range(3)]
    text = repo.read(CARD_PATH, repo.head() or "")
    assert text is not None and b"3 chunks of the plan" in text and text.count(BEGIN.encode()) == 1


def test_a_card_is_validated_committed_and_reads_back(world, repo):
    mark = world.sandbox.hub.mark()
    record = write(repo)
    assert "/api/validate-yaml" in [request["path"] for request in world.sandbox.hub.requests(mark)]
    text = (repo.read(CARD_PATH, record.oid or "") or b"").decode()
    assert repo.read("no/such/file", record.oid or "") is None
    assert repo.read(PICTURE_PATH, record.oid or "")
    assert DatasetCard(text).data.size_categories == ["n<1K"]


def test_validate_card_returns_the_hubs_errors(repo):
    assert repo.validate_card(CARD) == ""
    assert "\n" not in repo.validate_card(b"---\na: b: c\n---\n") != ""


@pytest.mark.parametrize("route", ["/validate-yaml$", "/resolve/.*README.md$", "/commit/main$"])
@pytest.mark.parametrize("fault", [{"status": 503, "body": "<html>busy</html>"}, {"drop": True}])
def test_transient_errors_are_retried_and_no_text_is_lost(world, route, fault):
    commit_files(world, {CARD_PATH: b"# Mine\n"})
    world.sandbox.hub.inject({"path_regex": route, "times": 2, **fault})
    repo = client(world, retry=QUICK)
    assert b"# Mine\n" in (repo.read(CARD_PATH, write(repo).oid or "") or b"")
