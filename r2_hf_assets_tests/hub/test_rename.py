"""rename_files on the local Hub: every file exists once at every commit, also after a lost response."""

import pytest

from r2_hf_assets.errors import AccessError, R2HfError
from r2_hf_assets.hub.commit import rename_files
from r2_hf_assets_tests.hub.conftest import client, commit_files
from r2_hf_assets_tests.reconcile.script_imitation import file_hashes
from r2_hf_assets_tests.support.world import World

GROUPS = [[(f"data/fra/{group}-{part}.parquet", f"data/fr/{group}-{part}.parquet") for part in "ab"] for group in "xyz"]


@pytest.fixture
def filled(world: World) -> World:
    """Six files to rename, and another one."""
    files = {old: old.encode() * 100 for group in GROUPS for old, _ in group}
    commit_files(world, {**files, "data/fra/other.parquet": b"other"})
    return world


def commits(world: World) -> int:
    return len(world.api().list_repo_commits(world.repo_id, repo_type="dataset"))


def renamed(hashes: dict[str, str]) -> dict[str, str]:
    names = dict(pair for group in GROUPS for pair in group)
    return {names.get(path, path): sha for path, sha in hashes.items()}


def test_groups_are_committed_whole_and_nothing_is_uploaded(filled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r2_hf_assets.hub.commit._RENAMES_PER_COMMIT", 5)
    before, count, mark = file_hashes(filled), commits(filled), filled.sandbox.hub.mark()
    rename_files(client(filled), GROUPS)
    assert file_hashes(filled) == renamed(before)
    assert commits(filled) == count + 2  # two groups, and one
    assert not [r for r in filled.sandbox.hub.requests(since=mark) if r["method"] == "PUT" or "/v1/" in r["path"]]
    rename_files(client(filled), GROUPS)
    assert commits(filled) == count + 2


@pytest.mark.parametrize("after", [False, True])
def test_a_lost_response_makes_no_second_commit(filled: World, after: bool) -> None:
    before, count = file_hashes(filled), commits(filled)
    route = {"method": "POST", "path_regex": f"{filled.repo_id}/commit/main$"}
    filled.sandbox.hub.inject({**route, "times": 1, "drop": True, "after": after})
    rename_files(client(filled), GROUPS)
    assert (file_hashes(filled), commits(filled)) == (renamed(before), count + 1)


def test_a_rename_to_an_existing_path_is_refused(filled: World) -> None:
    commit_files(filled, {"data/fr/y-a.parquet": b"another"})
    before = file_hashes(filled)
    with pytest.raises(R2HfError, match=r"fra/y-a.parquet can't be renamed: data/fr/y-a.parquet already exists"):
        rename_files(client(filled), GROUPS)
    assert file_hashes(filled) == before
    with pytest.raises(AccessError, match="HF_TOKEN"):
        rename_files(client(filled, token="hf_nobody"), GROUPS)
