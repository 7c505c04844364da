"""`r2-hf release`: a tag that contains its own changelog entry, on exactly the head that was checked."""

import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from dagster import DagsterInstance
from huggingface_hub import CommitOperationDelete

from r2_hf_assets.cli.in_process import refresh_card
from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.card.commit import draft_card
from r2_hf_assets.hub.client import HubClient, TagTaken
from r2_hf_assets.hub.reads import HubReader
from r2_hf_assets.hub.releases import RELEASES_PATH, Changes, Release, list_releases
from r2_hf_assets.settings import load
from r2_hf_assets_tests.cli.calls import call
from r2_hf_assets_tests.support.build_samples import put_episode
from r2_hf_assets_tests.support.releases import (
    LATER,
    NOW,
    build,
    commit_file,
    commit_speech,
    make,
    readme,
    remove,
    tags,
    titles,
)
from r2_hf_assets_tests.support.world import World

# A separate process, since `datasets` reads HF_ENDPOINT when it is imported.
LOAD = """
import json, os, sys
from datasets import Audio, load_dataset
def keys(revision):
    rows = load_dataset(sys.argv[1], split="train", revision=revision).cast_column("audio", Audio(decode=False))
    return sorted(row["audio"]["path"] for row in rows)
print(json.dumps([keys(revision) for revision in sys.argv[2:]]))
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture
def speech(in_process: World) -> World:
    """Two committed chunks of English, of three episodes and one, and one of German."""
    commit_speech(in_process)
    return in_process


def test_two_releases_and_what_changed_between(speech: World, capfd: pytest.CaptureFixture[str]) -> None:
    first = make("v1.0", "As in our  paper")
    assert tags(speech) == {"v1.0": speech.head()} == {"v1.0": first.revision}
    assert first.release == Release(
        "v1.0", "2026-11-29T12:00:00+00:00", "As in our paper", 18, 0.0075, (("de", 1), ("en", 4)), 0, 0
    )
    text = readme(speech, "v1.0")
    assert "### v1.0, 2026-11-29\n\nAs in our paper\n\n18 segments, 0.01 hours; episodes: `de` 1, `en` 4.\n" in text
    assert f'load_dataset("{speech.repo_id}", revision="v1.0")' in text and "Removed" not in text

    remove(capfd, "en/b", "processed/en/a/a_000002.mp3", "en/c:SPEAKER_01")
    put_episode(speech.store(), "en/a", 5)
    put_episode(speech.store(), "en/e", 2)
    assert call(capfd, "refresh").code == 0
    assert speech.scan() is None
    build(speech)
    with DagsterInstance.get() as instance:
        assert refresh_card(instance) is None
    text = readme(speech)
    assert "Removed since v1.0: 3 segments and 1 whole episode.\n" in text and "### v1.0, 2026-11-29" in text

    second = make("v1.1", now=LATER)
    # en/a gains a segment and loses one, en/b goes whole, en/c loses two, en/e is new.
    assert second.release.changes == Changes(3, 1, 7, 1)
    assert (second.release.rows, second.release.since) == (14, "v1.0")
    assert second.release.rows == len(speech.row_keys())
    text = readme(speech, "v1.1")
    assert text.index("### v1.1, 2026-12-24") < text.index("### v1.0, 2026-11-29")
    assert "Since v1.0: 3 segments and 1 episode added; 7 segments and 1 episode removed.\n" in text
    assert "Removed since" not in text, "nothing was removed since v1.1"
    section = text[text.index("## Releases") :]
    assert not any(secret in section for secret in ("en/", "SPEAKER", ".mp3", "processed", "private"))
    assert [one.release.tag for one in list_releases(HubClient(load().hub))] == ["v1.1", "v1.0"]


def test_load_dataset_reads_the_rows_of_then(speech: World, capfd: pytest.CaptureFixture[str]) -> None:
    before = speech.row_keys()
    make("v1.0")
    remove(capfd, "en/b", "en/c:SPEAKER_00")
    build(speech)
    make("v2.0", now=LATER)
    env = speech.command_env(**{name: speech.env[name] for name in ("HF_ENDPOINT", "HF_TOKEN", "HF_HOME")})
    command = [sys.executable, "-c", LOAD, speech.repo_id, "v1.0", "v2.0"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    then, now = json.loads(done.stdout)
    assert then == before and len(now) == len(before) - 6
    assert now == speech.row_keys()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_release_that_was_killed_before_its_tag_is_completed(
    speech: World, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    real = HubClient.create_tag

    def killed(*arguments: Any) -> None:
        if when == "after":
            real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HubClient, "create_tag", killed)
        with pytest.raises(KeyboardInterrupt):
            make("v1.0", "One")
    head = speech.head()
    assert f"### v1.0, {NOW.date()}" in readme(speech)
    if when == "after":
        assert tags(speech) == {"v1.0": head}, "it is complete"
        with pytest.raises(TagTaken, match=rf"v1.0 was released .*, at commit {head}"):
            make("v1.0", "One")
        return
    assert tags(speech) == {} and list_releases(HubClient(load().hub)) == ()
    done = make("v1.0", "One", LATER)
    assert (done.revision, done.release.at[:10]) == (head, str(NOW.date())), "an equal entry needs no commit"
    assert tags(speech) == {"v1.0": head}


def test_another_commit_after_the_kill_is_checked_and_released(speech: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HubClient, "create_tag", killed)
        with pytest.raises(KeyboardInterrupt):
            make("v1.0")
    put_episode(speech.store(), "en/e", 2)
    assert speech.scan() is None
    build(speech)
    with DagsterInstance.get() as instance:
        assert refresh_card(instance) is None
    assert "## Releases" not in readme(speech), "there is no such tag"
    done = make("v1.0", now=LATER)
    assert (done.release.rows, tags(speech)) == (20, {"v1.0": speech.head()})
    text = readme(speech, "v1.0")
    assert text.count("### v1.0") == 1 and f"### v1.0, {LATER.date()}" in text


def test_a_commit_in_between_is_checked_again(speech: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row file is deleted after the check: its release is refused, and nothing is tagged."""
    path = "data/en/chunk-00001.parquet"

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr("r2_hf_assets.runs.release.draft_card", draft_card)
        operation = CommitOperationDelete(path)
        speech.api().create_commit(speech.repo_id, [operation], commit_message="by hand", repo_type="dataset")
        return draft_card(*arguments, **options)

    monkeypatch.setattr("r2_hf_assets.runs.release.draft_card", meanwhile)
    monkeypatch.setattr("r2_hf_assets.retry.Retry.backoff", lambda *_: 0.0)
    with pytest.raises(R2HfError, match=r"^1 difference between plan, history and Hub: "):
        make("v1.0")
    assert tags(speech) == {} and titles(speech)[0] == "by hand"


@pytest.mark.parametrize("route", ["/commit/main$", "/tag/"])
def test_a_lost_response_makes_no_second_commit(speech: World, monkeypatch: pytest.MonkeyPatch, route: str) -> None:
    monkeypatch.setattr("r2_hf_assets.retry.Retry.backoff", lambda *_: 0.0)
    speech.sandbox.hub.inject({"method": "POST", "path_regex": route, "status": 504, "after": True})
    done = make("v1.0")
    assert tags(speech) == {"v1.0": done.revision} == {"v1.0": speech.head()}
    assert [title for title in titles(speech) if title.startswith("Release")] == ["Release v1.0: 18 segments"]


@pytest.mark.parametrize("content", [None, b"{", b'{"version": 1, "releases": [{"tag": "v1.0"}]}'])
def test_a_lost_card_and_a_lost_record_lose_no_release(speech: World, content: bytes | None) -> None:
    make("v1.0", "One </b> <!-- r2_hf_assets: end -->")
    make("v1.1", now=LATER)
    before = readme(speech)
    assert "One &lt;/b&gt; &lt;!--" in before and before.count("r2_hf_assets: end") == 2
    commit_file(speech, "README.md", b"# Mine\n")
    if content is None:
        speech.api().delete_file(RELEASES_PATH, speech.repo_id, repo_type="dataset")
    else:
        commit_file(speech, RELEASES_PATH, content)
    put_episode(speech.store(), "en/e", 2)
    assert speech.scan() is None
    build(speech)
    with DagsterInstance.get() as instance:
        assert refresh_card(instance) is None
    text = readme(speech)
    assert "# Mine" in text
    assert (
        text[text.index("## Releases") : text.index("<!-- r2_hf_assets: figures")]
        == (before[before.index("## Releases") : before.index("<!-- r2_hf_assets: figures")])
    )
    assert make("v1.2", now=LATER + timedelta(days=1)).release.changes == Changes(2, 1)
    speech.api().delete_tag(speech.repo_id, tag="v1.0", repo_type="dataset")
    assert [one.release.tag for one in list_releases(HubClient(load().hub))] == ["v1.2", "v1.1"]


def test_only_indexes_that_changed_are_read(speech: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    for name in ("header", "columns"):
        real = getattr(HubReader, name)

        def counted(reader: HubReader, file: Any, *more: Any, real: Any = real) -> Any:
            read.append(file.path)
            return real(reader, file, *more)

        monkeypatch.setattr(HubReader, name, counted)
    make("v1.0")
    put_episode(speech.store(), "fr/a", 2)
    assert speech.scan() is None
    build(speech)
    assert make("v1.1", now=LATER).release.changes == Changes(2, 1)
    assert read == [], "a new chunk is counted by its recorded figures"
    assert speech.build("de|chunk_0000") is None
    assert make("v1.2", now=LATER + timedelta(days=1)).release.changes == Changes() and read == []
    put_episode(speech.store(), "de/a", 3)
    assert speech.build("de|chunk_0000") is None
    assert make("v1.3", now=LATER + timedelta(days=2)).release.changes == Changes(1)
    assert read == ["metadata/de/chunk-00000.parquet"] * 2
