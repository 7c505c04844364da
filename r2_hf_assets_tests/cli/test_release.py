"""`r2-hf release` and `r2-hf releases`: refusals are one line and change nothing, stdout is data."""

import json
from datetime import UTC, datetime

import pytest
from huggingface_hub import CommitOperationDelete

from r2_hf_assets_tests.cli.calls import call
from r2_hf_assets_tests.support.releases import commit_speech, make, readme, refused, remove, tags, titles
from r2_hf_assets_tests.support.world import World


@pytest.fixture
def speech(in_process: World) -> World:
    """Two committed chunks of English, of three episodes and one, and one of German."""
    commit_speech(in_process)
    return in_process


def test_what_is_not_complete_is_refused_and_released_anyway(speech: World, capfd: pytest.CaptureFixture[str]) -> None:
    remove(capfd, "en/b")
    commits = titles(speech)
    assert "1 of 3 planned chunks are due; 3 differences between plan, history and Hub: see" in refused(capfd, "v1.0")
    operation = CommitOperationDelete("data/de/chunk-00000.parquet")
    speech.api().create_commit(speech.repo_id, [operation], commit_message="by hand", repo_type="dataset")
    assert "1 of 3 planned chunks are due; 4 differences between plan" in refused(capfd, "v1.0")
    assert (titles(speech)[1:], tags(speech)) == (commits, {})
    done = call(capfd, "release", "v1.0", "--anyway")
    assert (done.code, done.stdout) == (0, [f"v1.0 {speech.head()}"])
    assert "Incomplete: 1 of 3 planned chunks are due; 4 differences between" in readme(speech, "v1.0")


@pytest.mark.parametrize(
    "tag", ["", "-x", "v 1", "a/b", "v1..0", "v1.", "v1.lock", "main", "a" * 40, "v1~2", "ü", "v1\n"]
)
def test_a_name_that_is_no_tag_is_one_line(in_process: World, capfd: pytest.CaptureFixture[str], tag: str) -> None:
    assert "is no name for a tag" in refused(capfd, "--", tag)


def test_refusals_change_nothing(
    speech: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, commits = make("v1.0").revision, titles(speech)
    assert f"v1.0 was released of {speech.repo_id} already, at commit {first}" in refused(capfd, "v1.0")
    speech.api().create_tag(speech.repo_id, tag="mine", repo_type="dataset")
    assert "mine is a tag of" in refused(capfd, "mine", "--anyway")
    assert "600 characters" in refused(capfd, "v2", "--note", "x" * 600)
    with monkeypatch.context() as patch:
        patch.setenv("HF_TOKEN", speech.sandbox.hub.read_token)
        assert "the token lacks a right" in refused(capfd, "v2", "--note", "changes the card")
    with monkeypatch.context() as patch:
        patch.setenv("HF_REPO_ID", f"{speech.repo_id}-absent")
        assert "there is no" in refused(capfd, "v2")
        listed = call(capfd, "releases")
        assert (listed.code, listed.stdout) == (0, [])
    assert (titles(speech), tags(speech)) == (commits, {"v1.0": first, "mine": first})


def test_the_list_is_data(speech: World, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(capfd, "releases").stderr == [f"{speech.repo_id} has no release"]
    assert call(capfd, "releases", "--json").stdout == ["[]"]
    first = call(capfd, "release", "1.0", "--note", "007")
    assert first.code == 0 and first.stderr[-1] == "released 18 segments, 0.01 hours"
    header, row = call(capfd, "releases").stdout
    assert header.split() == ["tag", "date", "revision", "rows", "hours", "note"]
    assert row.split() == ["1.0", datetime.now(UTC).date().isoformat(), speech.head(), "18", "0.01", "007"]
    (listed,) = json.loads("\n".join(call(capfd, "releases", "--json").stdout))
    assert (listed["tag"], listed["rows"], listed["revision"], listed["changes"]) == ("1.0", 18, speech.head(), None)
