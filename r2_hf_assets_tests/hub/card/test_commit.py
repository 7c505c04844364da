"""The card's commit: one when figures changed, none when they did not; people and chunks come before it."""

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from huggingface_hub import DatasetCard, HfApi

from r2_hf_assets.errors import CardError, RetriesExhausted
from r2_hf_assets.hub.card.commit import commit_card
from r2_hf_assets.hub.card.merge import BEGIN, CARD_PATH
from r2_hf_assets.hub.card.text import CARD, PICTURE_PATH
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import commit_chunk
from r2_hf_assets.hub.ownership import Claim
from r2_hf_assets.retry import CARD_RETRY, COMMIT_RETRY, Retry
from r2_hf_assets.settings import HubSettings
from r2_hf_assets.shards.picture import draw
from r2_hf_assets_tests.hub.card.samples import THEN, chunk, facts
from r2_hf_assets_tests.hub.fake_repo import FakeRepo, built, remote
from r2_hf_assets_tests.hub.uploads import upload_chunk
from r2_hf_sandbox.sandbox import Sandbox

PLAN = "0" * 32
FACTS = facts(chunk("de"), chunk("en"))
MORE = facts(chunk("de"), chunk("en"), chunk("en", 1))


def write(repo, about=FACTS, at=THEN.at, **more):
    return commit_card(repo, about, at, PLAN, **more)


def started() -> FakeRepo:
    repo = FakeRepo([remote("data/de/chunk-00000.parquet", b"rows")])
    repo.write(CARD_PATH, CARD)
    return repo


def test_one_commit_brings_text_and_picture_and_a_second_none():
    repo = started()
    before = len(repo.revisions)
    record = write(repo)
    assert record.committed and record.oid == repo.head()
    assert len(repo.revisions) == before + 1
    assert record.text == repo.text(CARD_PATH)
    assert repo.text(PICTURE_PATH) == draw(FACTS.all.stats)
    assert f"As of {THEN.at}, at revision [`oid-{before - 1}`]" in record.text
    again = write(repo, at="2027-01-01 00:00 UTC")
    assert (again.committed, again.oid, again.text) == (False, record.oid, record.text)
    assert len(repo.revisions) == before + 1


def test_new_figures_are_one_more_commit():
    repo = started()
    write(repo)
    before = len(repo.revisions)
    assert write(repo, MORE).committed
    assert len(repo.revisions) == before + 1
    assert repo.text(PICTURE_PATH) == draw(MORE.all.stats)


def test_a_picture_that_is_gone_comes_back_and_none_is_drawn_of_nothing():
    repo = started()
    text = write(repo).text
    kept = {path: file for path, file in repo.now.items() if path != PICTURE_PATH}
    repo.revisions.append(kept)
    assert write(repo).committed
    assert repo.text(PICTURE_PATH) and repo.text(CARD_PATH) == text
    bare = started()
    assert write(bare, facts(chunk("de", counted=False))).committed
    assert PICTURE_PATH not in bare.now


def test_a_card_of_an_earlier_release_gets_the_new_picture_and_keeps_the_old_file():
    repo = started()
    repo.write(CARD_PATH, write(repo).text.replace("assets/quality.svg", "assets/quality.png").encode())
    repo.write("assets/quality.png", b"\x89PNG")
    assert f"]({PICTURE_PATH})" in write(repo).text
    assert {PICTURE_PATH, "assets/quality.png"} <= {*repo.now} and not write(repo).committed


def test_no_repo_no_card():
    record = write(FakeRepo(exists=False))
    assert (record.oid, record.committed, record.text) == (None, False, "")


def test_a_repo_without_a_card_gets_one():
    repo = FakeRepo()
    assert write(repo).committed
    assert BEGIN in repo.text(CARD_PATH)


def test_a_chunk_that_is_committed_meanwhile_gets_in_first_and_the_card_after_it():
    repo, record = started(), built(b"rows")
    repo.before("commit", lambda: commit_chunk(repo, record, repo.claim()))
    said: list[str] = []
    repo.log = said.append
    done = write(repo)
    assert done.committed and "data/en/chunk-00007.parquet" in repo.now
    assert repo.calls["commit"] == 3
    assert len(said) == 1 and "the repo moved on meanwhile" in said[0]


def test_what_a_person_writes_meanwhile_is_kept():
    repo = started()
    theirs = b"---\nlicense: mit\n---\n# Mine\n"
    repo.before("commit", lambda: repo.write(CARD_PATH, theirs))
    text = write(repo).text
    assert text.startswith("---\nlicense: mit\n") and "\n# Mine\n" in text
    assert repo.text(CARD_PATH) == text


def test_somebody_else_writing_the_same_card_is_found():
    repo = started()
    repo.before("commit", lambda: write(repo))
    done = write(repo)
    assert not done.committed and done.oid == repo.head()
    assert repo.calls["commit"] == 2


@pytest.mark.parametrize("trouble", [500, 503, 409, ConnectionResetError("reset")])
def test_an_answer_that_was_lost_is_looked_for(trouble):
    repo = started()
    repo.fail("commit", trouble, after=True)
    before = len(repo.revisions)
    assert not write(repo).committed
    assert len(repo.revisions) == before + 1 and BEGIN in repo.text(CARD_PATH)


def test_a_card_that_never_gets_in_gives_up_and_leaves_the_old_one():
    repo = started()
    repo.fail("commit", *[412] * CARD_RETRY.attempts)
    with pytest.raises(RetriesExhausted, match="write the card of me/speech: the repo moved on meanwhile"):
        write(repo)
    assert repo.text(CARD_PATH) == CARD.decode()


def test_chunks_are_more_patient_to_try_and_quicker_to_try_again():
    assert CARD_RETRY.base >= 4 * COMMIT_RETRY.base
    assert CARD_RETRY.attempts < COMMIT_RETRY.attempts


def test_a_damaged_card_is_not_overwritten():
    repo = started()
    repo.write(CARD_PATH, b"---\na: b: c\n---\nMine\n")
    with pytest.raises(CardError, match="its YAML can't be read"):
        write(repo)
    assert repo.calls["commit"] == 0


def test_the_hubs_refusal_of_the_yaml_is_one_line():
    repo = started()
    repo.wrong_with_card = '"license" must be one of these'
    with pytest.raises(CardError) as refused:
        write(repo)
    assert str(refused.value) == (
        'the Hub refuses the YAML of README.md: "license" must be one of these; mend it on the Hub'
    )
    assert repo.calls["commit"] == 0


def test_a_history_that_knows_less_does_not_shrink_the_card():
    repo = started()
    write(repo, MORE)
    with pytest.raises(CardError, match=r"counts 3 chunks and this history 2; record .* `r2-hf reconcile --record`"):
        write(repo)
    assert write(repo, may_shrink=True).committed
    assert write(repo, facts(chunk("fr"), chunk("no"))).committed, "as many, but others"


# On the sandbox's Hub, with the real client.


@pytest.fixture
def hub(sandbox: Sandbox, tmp_path) -> HubSettings:
    name = hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]
    return HubSettings(f"{sandbox.hub.user}/card-{name}", sandbox.hub.token, sandbox.hub.endpoint)


def files(sandbox: Sandbox, hub: HubSettings) -> list[str]:
    return HfApi(endpoint=hub.endpoint, token=hub.token).list_repo_files(hub.repo_id, repo_type="dataset")


QUICK = Retry(attempts=40, sleep=lambda seconds: time.sleep(seconds / 100))


def test_cards_and_chunks_of_many_writers_all_get_in(sandbox, hub, tmp_path, monkeypatch):
    repo, together = HubClient(hub), threading.Barrier(4)
    repo.create_repo()
    bodies = [f"PAR1 {number}".encode() * 500 for number in range(3)]
    records = [upload_chunk(repo, tmp_path, body, number=number) for number, body in enumerate(bodies)]

    def chunks(record):
        together.wait(20)
        return commit_chunk(HubClient(hub, retry=QUICK), record, Claim(PLAN, lambda _: {}))

    def cards():
        together.wait(20)
        return [write(HubClient(hub, retry=QUICK), about).committed for about in (FACTS, MORE)]

    with ThreadPoolExecutor(4) as pool:
        card, *commits = [pool.submit(cards), *(pool.submit(chunks, record) for record in records)]
        assert [commit.result().committed for commit in commits] == [True] * 3
        assert card.result() == [True, True]
    assert {f"data/en/chunk-{number:05d}.parquet" for number in range(3)} <= {*files(sandbox, hub)}
    text = repo.read(CARD_PATH, repo.head() or "")
    assert text is not None and b"3 chunks of the plan" in text and text.count(BEGIN.encode()) == 1


def test_the_real_hub_route_finds_the_card_valid_and_it_reads_back(sandbox, hub):
    repo = HubClient(hub)
    repo.create_repo()
    since = sandbox.hub.mark()
    record = write(repo)
    paths = [entry["path"] for entry in sandbox.hub.requests(since)]
    assert "/api/validate-yaml" in paths
    assert repo.read(CARD_PATH, record.oid or "") == record.text.encode()
    assert repo.read("no/such/file", record.oid or "") is None
    assert {CARD_PATH, PICTURE_PATH} <= {*files(sandbox, hub)}
    assert DatasetCard(record.text).data.size_categories == ["n<1K"]


def test_the_hubs_validation_of_the_yaml(hub):
    repo = HubClient(hub)
    assert repo.validate_card(CARD) == ""
    assert "\n" not in repo.validate_card(b"---\na: b: c\n---\n") != ""


@pytest.mark.parametrize("route", ["/validate-yaml$", "/resolve/.*README.md$", "/commit/main$"])
@pytest.mark.parametrize("trouble", [{"status": 503, "body": "<html>busy</html>"}, {"drop": True}])
def test_trouble_on_the_way_is_waited_out_and_no_text_is_lost(sandbox, hub, route, trouble):
    repo = HubClient(hub, retry=QUICK)
    repo.create_repo()
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    api.upload_file(path_or_fileobj=b"# Mine\n", path_in_repo=CARD_PATH, repo_id=hub.repo_id, repo_type="dataset")
    sandbox.hub.inject({"path_regex": route, "times": 2, **trouble})
    assert "# Mine\n" in write(repo).text
