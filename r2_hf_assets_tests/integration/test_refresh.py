"""`r2-hf refresh`: what changed in the bucket is found by HEADs, and its chunks are built again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import obstore
import pyarrow.parquet as pq
import pytest
from dagster import DagsterInstance

from r2_hf_assets.amend.refresh import Refresh, Selection
from r2_hf_assets.amend.refresh import refresh as find_changes
from r2_hf_assets.definitions import defs
from r2_hf_assets.errors import R2HfError
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import load
from r2_hf_assets_tests.cli.calls import call
from r2_hf_assets_tests.support.build_samples import audio, entry, put_episode
from r2_hf_assets_tests.support.world import World

KEYS = ["en|chunk_0000", "en|chunk_0001"]


@pytest.fixture
def speech(in_process: World) -> World:
    """Two committed chunks: of en/a, en/b (without one audio, another empty), en/c; of en/d and en/e (no metadata)."""
    store = in_process.store()
    for name in ("a", "c", "d"):
        put_episode(store, f"en/{name}", 3)
    put_episode(store, "en/b", 3, without=[1])
    obstore.put(store, "processed/en/b/b_000002.mp3", b"")
    obstore.put(store, "processed/en/e/e_000000.mp3", audio("en/e", 0))
    assert in_process.scan() is None
    assert [run.error for run in in_process.build_due()] == [None, None]
    return in_process


def refresh(dry_run: bool = False, **selection: Any) -> Refresh:
    return find_changes(load(), Selection(**selection), dry_run=dry_run)


def found(report: Refresh) -> list[tuple[str, str]]:
    return [(change.episode, change.why) for change in report.changes]


def texts(world: World, episode: str) -> list[str]:
    with world.dataset_folder() as folder:
        rows = [row for path in sorted(folder.glob("metadata/en/*.parquet")) for row in pq.read_table(path).to_pylist()]
    return [row["text"] for row in rows if row["episode"] == episode and row["reject_reason"] is None]


def test_an_unchanged_bucket_changes_nothing(speech: World) -> None:
    head = speech.head()
    report = refresh()
    assert (report.asked, report.changes, report.gone, report.unknown) == (5, [], 0, 0)
    assert (speech.head(), speech.due(), report.amendment) == (head, [], None)


def test_changed_and_new_metadata_is_built_again(speech: World) -> None:
    put_episode(speech.store(), "en/a", [entry(0, text="said anew"), entry(1), entry(2)])
    put_episode(speech.store(), "en/e", 1)
    dry_run = refresh(dry_run=True)
    assert found(dry_run) == [("en/a", "its metadata changed"), ("en/e", "all_segments.json arrived")]
    assert (dry_run.chunks, speech.due()) == ([("en", 0), ("en", 1)], [])
    assert dry_run.rebuild_bytes == sum(
        file.size for file in speech.api().list_repo_tree(speech.repo_id, "data/en", repo_type="dataset", expand=False)
    )
    assert found(refresh()) == found(dry_run)
    assert speech.due() == KEYS
    assert found(refresh()) == [], "chunks that are due anyway are left out"
    assert refresh().chunks_due == 2
    assert [run.error for run in speech.build_due()] == [None, None]
    assert texts(speech, "en/a")[0] == "said anew"
    assert len(texts(speech, "en/e")) == 1
    assert (found(refresh()), speech.due()) == ([], [])


def test_audio_that_arrived_later(speech: World) -> None:
    assert (refresh(rejected=True).asked, speech.due()) == (3, [])
    obstore.put(speech.store(), "processed/en/b/b_000001.mp3", audio("en/b", 1))
    assert found(refresh()) == [], "the metadata is as it was"
    assert found(refresh(rejected=True)) == [("en/b", "b_000001.mp3 arrived")]
    assert [run.error for run in speech.build_due()] == [None]
    assert len(texts(speech, "en/b")) == 2
    obstore.put(speech.store(), "processed/en/b/b_000002.mp3", audio("en/b", 2))
    assert found(refresh(rejected=True)) == [("en/b", "b_000002.mp3 arrived")]


def test_gone_metadata_is_counted_and_keeps_its_rows(speech: World) -> None:
    obstore.delete(speech.store(), "processed/en/d/all_segments.json")
    report = refresh()
    assert (report.gone, report.changes, speech.due()) == (1, [], [])


def test_the_selection(speech: World) -> None:
    for name in ("a", "d"):
        put_episode(speech.store(), f"en/{name}", 4)
    assert refresh(dry_run=True, languages=["de"]).asked == 0
    only = refresh(dry_run=True, episodes=["en/d"])
    assert (only.asked, found(only)) == (1, [("en/d", "its metadata changed")])
    now = datetime.now(UTC)
    assert found(refresh(dry_run=True, since=now + timedelta(hours=1))) == []
    assert len(found(refresh(dry_run=True, since=now - timedelta(hours=1)))) == 2
    with pytest.raises(R2HfError, match="en/zz is not planned"):
        refresh(episodes=["en/d", "en/zz"])
    assert speech.due() == []


def test_what_was_removed_is_not_asked_for(speech: World, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(capfd, "remove", "en/a", "processed/en/b/b_000001.mp3", "--reason", "takedown").code == 0
    assert [run.error for run in speech.build_due()] == [None]
    put_episode(speech.store(), "en/a", 4)
    obstore.put(speech.store(), "processed/en/b/b_000001.mp3", audio("en/b", 1))
    report = refresh()
    assert (report.asked, report.changes, report.unknown) == (4, [], 0)
    assert found(refresh(rejected=True)) == []
    obstore.put(speech.store(), "processed/en/b/b_000002.mp3", audio("en/b", 2))
    assert len(refresh(rejected=True).changes) == 1
    assert [run.error for run in speech.build_due()] == [None]
    assert texts(speech, "en/a") == []
    assert len(texts(speech, "en/b")) == 2


def test_the_command_and_the_job(speech: World, capfd: pytest.CaptureFixture[str]) -> None:
    put_episode(speech.store(), "en/d", 4)
    dry_run = call(capfd, "refresh", "--dry-run")
    assert dry_run.stdout == ["en|chunk_0001: en/d: its metadata changed"]
    assert dry_run.stderr[-1].startswith("asked for 5 objects: 1 changed; 1 chunk would be due again, ")
    with DagsterInstance.get() as instance:
        job = defs.resolve_job_def("refresh_job")
        config: dict[str, Any] = {"ops": {"refresh": {"config": {"since": "2020-01-01"}}}}
        assert job.execute_in_process(instance=instance, run_config=config).success
        assert speech.due() == ["en|chunk_0001"]
        config = {"ops": {"remove": {"config": {"targets": ["en/d"], "reason": "takedown"}}}}
        assert defs.resolve_job_def("remove_job").execute_in_process(instance=instance, run_config=config).success
    settings = load()
    assert [one.kind for one in open_plan(settings.plan, settings.r2).amendments()] == ["refresh", "remove"]
