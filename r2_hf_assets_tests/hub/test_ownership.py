"""Which plan a repo belongs to: named at the first commit, refused to any other, and no unknown file is replaced."""

from dataclasses import replace

import pytest

from r2_hf_assets.errors import ForeignDataset, UnknownFile
from r2_hf_assets.hub.card.merge import BEGIN, END
from r2_hf_assets.hub.commit import CommitRecord, check_claim, commit_chunk
from r2_hf_assets.hub.ownership import (
    OWNER_PATH,
    Claim,
    check_ownership,
    refuse_dataset_without_plan,
    refuse_other_plan,
    start_over,
)
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets_tests.hub.fake_repo import FakeRepo, built, remote

MINE, THEIRS = "1" * 32, "2" * 32
ONE = "data/en/chunk-00007.parquet"
NOTHING_KNOWN = Claim(MINE, lambda _: {})


def commit(repo: FakeRepo, record: BuildRecord, claim: Claim = NOTHING_KNOWN) -> CommitRecord:
    return commit_chunk(repo, record, claim)


def test_the_first_commit_names_the_plan_and_no_other_writes_the_file_again():
    repo = FakeRepo()
    commit(repo, built(b"rows"))
    assert MINE in repo.text(OWNER_PATH)
    named = repo.now[OWNER_PATH]
    commit(repo, built(b"more", number=8))
    assert repo.now[OWNER_PATH] == named and len(repo.revisions) == 3


def test_another_plan_is_refused_and_changes_nothing():
    repo = FakeRepo()
    commit(repo, built(b"rows"))
    before = repo.now
    for attempt in (
        lambda: commit(repo, built(b"other", number=9), repo.claim(THEIRS)),
        lambda: check_claim(repo, repo.claim(THEIRS)),
        lambda: refuse_other_plan(repo, repo.head() or "", THEIRS),
        lambda: refuse_other_plan(repo, repo.head() or "", None),
        lambda: refuse_dataset_without_plan(repo, THEIRS),
    ):
        with pytest.raises(ForeignDataset, match=f"belongs to .*plan.*{MINE}") as refused:
            attempt()
        assert "\n" not in str(refused.value) and not refused.value.transient
        assert "STATE_URL" in str(refused.value) and "r2-hf scan --start-anew" in str(refused.value)
    assert repo.now == before and repo.calls["commit"] == 1


def test_of_two_plans_that_begin_at_once_the_second_is_refused():
    repo = FakeRepo()
    repo.before("commit", lambda: commit(repo, built(b"theirs", number=1), Claim(THEIRS, lambda _: {})))
    with pytest.raises(ForeignDataset, match=THEIRS):
        commit(repo, built(b"rows"))
    assert list(repo.data) == ["data/en/chunk-00001.parquet"]


def test_a_repo_without_a_name_is_taken_over_when_all_its_chunk_files_are_known():
    known, elsewhere = remote("data/de/chunk-00000.parquet", b"ours"), remote("data/notes.parquet", b"nobody's")
    repo = FakeRepo([known, elsewhere])
    assert not check_ownership(repo, "oid-0", repo.claim(MINE))
    commit(repo, built(b"rows"), repo.claim(MINE))
    assert MINE in repo.text(OWNER_PATH)
    assert {known.path, elsewhere.path, ONE} == set(repo.data)


@pytest.mark.parametrize(
    "path", ["data/de/chunk-00000.parquet", ONE, "data/en/chunk-00007-part-03.parquet", "data/123/chunk-00000.parquet"]
)
def test_a_repo_without_a_name_and_with_an_unknown_chunk_file_is_refused(path):
    repo = FakeRepo([remote(path, b"somebody's")])
    with pytest.raises(ForeignDataset, match=r"names no plan and holds 1 chunk files .*reconcile --record"):
        commit(repo, built(b"rows"))
    assert len(repo.revisions) == 1 and repo.calls["commit"] == 0


@pytest.mark.parametrize("path", [ONE, "data/en/chunk-00007-part-03.parquet"])
@pytest.mark.parametrize("in_lfs", [True, False])
def test_an_unknown_file_is_neither_replaced_nor_removed(path, in_lfs):
    repo = FakeRepo()
    commit(repo, built(b"other", number=1))
    theirs = remote(path, b"put there by hand")
    repo.put(theirs if in_lfs else replace(theirs, sha256=None))
    before = repo.now
    with pytest.raises(UnknownFile, match=r"names, so it is not replaced: .*or delete it on the Hub") as refused:
        commit(repo, built(b"rows"))
    assert "\n" not in str(refused.value) and repo.now == before


def test_a_file_that_the_history_or_an_earlier_build_names_is_replaced():
    repo = FakeRepo()
    record = built(b"first")
    commit(repo, record)
    record = replace(built(b"second"), earlier=(record.files[0].sha256,))
    assert commit(repo, record).added == (ONE,)
    third = built(b"third")
    with pytest.raises(UnknownFile):
        commit(repo, third)
    assert commit(repo, third, repo.claim(MINE)).added == (ONE,)


def test_an_owner_file_that_cannot_be_read_is_one_line():
    for damaged in (b"", b"{", b"[]", b'{"plan": 7}', b"\xff"):
        repo = FakeRepo()
        repo.write(OWNER_PATH, damaged)
        with pytest.raises(ForeignDataset, match=r"\.r2_hf_assets\.json in me/speech can't be read"):
            commit(repo, built(b"rows"))


def test_an_owner_file_that_another_release_worded_is_read():
    repo = FakeRepo()
    repo.write(OWNER_PATH, b'{"plan": "%s", "more": 1}' % MINE.encode())
    assert commit(repo, built(b"rows")).committed


def test_an_empty_plan_is_not_begun_for_a_repo_with_chunks():
    refuse_dataset_without_plan(FakeRepo(exists=False), None)
    refuse_dataset_without_plan(FakeRepo([remote("README.md", b"card"), remote("data/x.parquet", b"x")]), None)
    with pytest.raises(ForeignDataset, match=r"holds 1 chunk files \(data/en/chunk-00007.parquet\), and this plan is"):
        refuse_dataset_without_plan(FakeRepo([remote(ONE, b"rows")]), None)
    repo = FakeRepo()
    commit(repo, built(b"rows"))
    with pytest.raises(ForeignDataset, match="this plan is empty"):  # its manifests are lost, its id is not
        refuse_dataset_without_plan(repo, MINE)


def test_beginning_anew_removes_other_plans_chunks_and_no_other_file():
    notes, kept = remote("data/notes.txt", b"nobody's"), remote("data/en/chunk-00001.parquet", b"committed")
    repo = FakeRepo([notes, kept, remote(ONE, b"old"), remote("data/de/chunk-00000-part-00.parquet", b"old")])
    planned = {("en", 1): {kept.sha256 or ""}, ("en", 7): set[str]()}
    assert start_over(repo, NOTHING_KNOWN, planned) == (2, "oid-0")
    assert set(repo.data) == {notes.path, kept.path} and MINE in repo.text(OWNER_PATH)
    nothing = {name: set[str]() for name in planned}
    assert start_over(repo, NOTHING_KNOWN, nothing) == (0, "oid-1"), "a planned chunk of a repo of ours stays"
    assert len(repo.revisions) == 2
    assert start_over(FakeRepo(exists=False), NOTHING_KNOWN, planned) == (0, None)


def test_beginning_anew_removes_the_scripts_files_of_languages_that_we_call_otherwise():
    theirs = [remote("data/fra/chunk-00000.parquet", b"fr"), remote("data/123/chunk-00000-part-00.parquet", b"?")]
    repo = FakeRepo(theirs)
    with pytest.raises(ForeignDataset, match=r"holds 2 chunk files .*take the script's plan over with `r2-hf import`"):
        refuse_dataset_without_plan(repo, None)
    assert start_over(repo, NOTHING_KNOWN, {}) == (2, "oid-0")
    assert not repo.data


def test_beginning_anew_takes_the_figures_of_what_is_removed_off_the_card():
    repo = FakeRepo([remote(ONE, b"theirs")])
    people, figures = b"---\nlicense: mit\n---\n\n# Mine\n", f"{BEGIN}\n| 7 chunks |\n{END}\n".encode()
    repo.write("README.md", people + figures)
    start_over(repo, NOTHING_KNOWN, {})
    text = repo.text("README.md")
    assert text.startswith(people.decode()) and "7 chunks" not in text and BEGIN in text and END in text


def test_beginning_anew_removes_another_plans_file_of_a_name_that_ours_had():
    repo = FakeRepo([remote(ONE, b"theirs")])
    assert start_over(repo, NOTHING_KNOWN, {("en", 7): {"the SHA-256 of ours"}}) == (1, "oid-0")
    assert not repo.data
