"""Ownership: the first commit names the plan, another plan is refused, and no unknown file is replaced."""

from dataclasses import replace

import pytest

from r2_hf_assets.errors import ForeignDataset, UnknownFile
from r2_hf_assets.hub.card.merge import BEGIN, END
from r2_hf_assets.hub.commit import CommitRecord, commit_chunk, prepare_repo
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

OWN, OTHER = "1" * 32, "2" * 32
ONE = "data/en/chunk-00007.parquet"
NOTHING_KNOWN = Claim(OWN, lambda _: {}, lambda *_: True)


def commit(repo: FakeRepo, record: BuildRecord, claim: Claim = NOTHING_KNOWN) -> CommitRecord:
    return commit_chunk(repo, record, claim)


def test_the_first_commit_names_the_plan_and_later_ones_keep_the_file():
    repo = FakeRepo()
    commit(repo, built(b"rows"))
    assert OWN in repo.text(OWNER_PATH)
    owner_file = repo.now[OWNER_PATH]
    commit(repo, built(b"more", number=8))
    assert repo.now[OWNER_PATH] == owner_file and len(repo.revisions) == 3


def test_another_plan_is_refused_and_changes_nothing():
    repo = FakeRepo()
    commit(repo, built(b"rows"))
    before = repo.now
    for attempt in (
        lambda: commit(repo, built(b"other", number=9), repo.claim(OTHER)),
        lambda: prepare_repo(repo, repo.claim(OTHER)),
        lambda: refuse_other_plan(repo, repo.head() or "", OTHER),
        lambda: refuse_other_plan(repo, repo.head() or "", None),
        lambda: refuse_dataset_without_plan(repo, OTHER, empty=True),
    ):
        with pytest.raises(ForeignDataset, match=f"belongs to .*plan.*{OWN}") as refused:
            attempt()
        assert "\n" not in str(refused.value) and not refused.value.transient
        assert "STATE_URL" in str(refused.value) and "r2-hf scan --start-anew" in str(refused.value)
    assert repo.now == before and repo.calls["commit"] == 1


def test_the_second_of_two_plans_that_start_concurrently_is_refused():
    repo = FakeRepo()
    repo.before("commit", lambda: commit(repo, built(b"other", number=1), Claim(OTHER, lambda _: {}, lambda *_: True)))
    with pytest.raises(ForeignDataset, match=OTHER):
        commit(repo, built(b"rows"))
    assert list(repo.data) == ["data/en/chunk-00001.parquet"]


def test_a_repo_without_a_plan_is_taken_over_when_all_its_chunk_files_are_known():
    known, other = remote("data/de/chunk-00000.parquet", b"known"), remote("data/notes.parquet", b"other")
    repo = FakeRepo([known, other])
    assert not check_ownership(repo, "oid-0", repo.claim(OWN))
    commit(repo, built(b"rows"), repo.claim(OWN))
    assert OWN in repo.text(OWNER_PATH)
    assert {known.path, other.path, ONE} == set(repo.data)


@pytest.mark.parametrize(
    "path", ["data/de/chunk-00000.parquet", ONE, "data/en/chunk-00007-part-03.parquet", "data/123/chunk-00000.parquet"]
)
def test_a_repo_without_a_plan_and_with_an_unknown_chunk_file_is_refused(path):
    repo = FakeRepo([remote(path, b"unknown")])
    with pytest.raises(ForeignDataset, match=r"names no plan and holds 1 chunk file .*reconcile --record"):
        commit(repo, built(b"rows"))
    assert len(repo.revisions) == 1 and repo.calls["commit"] == 0


@pytest.mark.parametrize("path", [ONE, "data/en/chunk-00007-part-03.parquet"])
@pytest.mark.parametrize("in_lfs", [True, False])
def test_an_unknown_file_is_neither_replaced_nor_removed(path, in_lfs):
    repo = FakeRepo()
    commit(repo, built(b"other", number=1))
    unknown = remote(path, b"uploaded by hand")
    repo.put(unknown if in_lfs else replace(unknown, sha256=None))
    before = repo.now
    with pytest.raises(UnknownFile, match=r"names, so it is not replaced: .*or delete it on the Hub") as refused:
        commit(repo, built(b"rows"))
    assert "\n" not in str(refused.value) and repo.now == before


def test_a_file_of_the_history_or_of_an_earlier_build_is_replaced():
    repo = FakeRepo()
    record = built(b"first")
    commit(repo, record)
    record = replace(built(b"second"), earlier=(record.files[0].sha256,))
    assert commit(repo, record).added == (ONE,)
    third = built(b"third")
    with pytest.raises(UnknownFile):
        commit(repo, third)
    assert commit(repo, third, repo.claim(OWN)).added == (ONE,)


def test_a_damaged_owner_file_is_one_line():
    for damaged in (b"", b"{", b"[]", b'{"plan": 7}', b"\xff"):
        repo = FakeRepo()
        repo.write(OWNER_PATH, damaged)
        with pytest.raises(ForeignDataset, match=r"\.r2_hf_assets\.json in me/speech can't be read"):
            commit(repo, built(b"rows"))


def test_an_owner_file_of_another_release_is_read():
    repo = FakeRepo()
    repo.write(OWNER_PATH, b'{"plan": "%s", "more": 1}' % OWN.encode())
    assert commit(repo, built(b"rows")).committed


def test_an_empty_plan_is_refused_for_a_repo_with_chunks():
    refuse_dataset_without_plan(FakeRepo(exists=False), None, empty=True)
    refuse_dataset_without_plan(
        FakeRepo([remote("README.md", b"card"), remote("data/x.parquet", b"x")]), None, empty=True
    )
    with pytest.raises(ForeignDataset, match=r"holds 1 chunk file \(data/en/chunk-00007.parquet\), and this plan is"):
        refuse_dataset_without_plan(FakeRepo([remote(ONE, b"rows")]), None, empty=True)
    repo = FakeRepo()
    commit(repo, built(b"rows"))
    with pytest.raises(ForeignDataset, match="this plan is empty"):  # its manifests are lost, but not its id
        refuse_dataset_without_plan(repo, OWN, empty=True)


def test_starting_over_removes_other_plans_chunks_and_no_other_file():
    notes, chunk = remote("data/notes.txt", b"notes"), remote("data/en/chunk-00001.parquet", b"committed")
    repo = FakeRepo([notes, chunk, remote(ONE, b"old"), remote("data/de/chunk-00000-part-00.parquet", b"old")])
    committed = {("en", 1): {chunk.sha256 or ""}, ("en", 7): set[str]()}
    assert start_over(repo, NOTHING_KNOWN, committed) == (2, "oid-0")
    assert set(repo.data) == {notes.path, chunk.path} and OWN in repo.text(OWNER_PATH)
    unrecorded = {name: set[str]() for name in committed}
    assert start_over(repo, NOTHING_KNOWN, unrecorded) == (0, "oid-1"), "the plan's own repo keeps its chunks"
    assert len(repo.revisions) == 2
    assert start_over(FakeRepo(exists=False), NOTHING_KNOWN, committed) == (0, None)


def test_starting_over_removes_the_scripts_files_in_folders_of_other_languages():
    files = [remote("data/fra/chunk-00000.parquet", b"fr"), remote("data/123/chunk-00000-part-00.parquet", b"?")]
    repo = FakeRepo(files)
    with pytest.raises(ForeignDataset, match=r"holds 2 chunk files .*take the script's plan over with `r2-hf import`"):
        refuse_dataset_without_plan(repo, None, empty=True)
    assert start_over(repo, NOTHING_KNOWN, {}) == (2, "oid-0")
    assert not repo.data


def test_starting_over_removes_the_figures_from_the_card():
    repo = FakeRepo([remote(ONE, b"other")])
    people, figures = b"---\nlicense: mit\n---\n\n# Mine\n", f"{BEGIN}\n| 7 chunks |\n{END}\n".encode()
    repo.write("README.md", people + figures)
    start_over(repo, NOTHING_KNOWN, {})
    text = repo.text("README.md")
    assert text.startswith(people.decode()) and "7 chunks" not in text and BEGIN in text and END in text


def test_starting_over_keeps_what_a_person_has_below_metadata():
    repo = FakeRepo(
        [remote(ONE, b"rows"), remote("metadata/notes.csv", b"x"), remote("metadata/en/notes.parquet", b"x")]
    )
    repo.put(remote("metadata/amendments/0000.json", b"{}"), remote("metadata/releases.json", b"{}"))
    repo.put(remote("metadata/en/chunk-00007.parquet", b"index"))
    assert start_over(repo, NOTHING_KNOWN, {})[0] == 4
    assert {path for path in repo.data if path.startswith("metadata/")} == {
        "metadata/notes.csv",
        "metadata/en/notes.parquet",
    }


def test_starting_over_removes_another_plans_file_at_a_committed_path():
    repo = FakeRepo([remote(ONE, b"other")])
    assert start_over(repo, NOTHING_KNOWN, {("en", 7): {"another SHA-256"}}) == (1, "oid-0")
    assert not repo.data
