"""build_chunk over a real store: every segment is a row or a reject, and a transient error is neither."""

from datetime import timedelta

import obstore
import pytest
from obstore.exceptions import PermissionDeniedError

from r2_hf_assets.errors import AccessError, RetriesExhausted, StillUploading
from r2_hf_assets.shards import source as module
from r2_hf_assets.shards.record import Tally
from r2_hf_assets_tests.support import store_gets
from r2_hf_assets_tests.support.build_samples import (
    PREFIX,
    Flaky,
    MemoryBuild,
    MemoryUpload,
    audio,
    build_in_memory,
    chunk_of,
    entry,
    fetch_threads,
    put_episode,
    use_obstore,
)
from r2_hf_assets_tests.support.store_gets import FolderBucket, MemoryBucket


@pytest.fixture(params=["memory", "folder"])
def bucket(request, tmp_path):
    return MemoryBucket() if request.param == "memory" else FolderBucket(tmp_path / "bucket", mkdir=True)


def build(bucket, *episodes: str, **options) -> MemoryBuild:
    return build_in_memory(chunk_of(*episodes), bucket, **options)


def rejects(built: MemoryBuild) -> list[tuple[int | None, str, str]]:
    """Return (number of the segment, key below the prefix, reason) of each reject."""
    return [(row["segment"], row["key"].removeprefix(PREFIX), row["reject_reason"]) for row in built.rejects()]


def test_rows_are_in_plan_order_then_segment_order(bucket):
    put_episode(bucket, "en/b", 2)
    put_episode(bucket, "en-US/a", 3)
    built = build(bucket, "en/b", "en-US/a")
    expected = [("en/b", 0), ("en/b", 1), ("en-US/a", 0), ("en-US/a", 1), ("en-US/a", 2)]
    keys = [f"{PREFIX}{episode}/{episode[-1]}_{index:06d}.mp3" for episode, index in expected]
    assert [row["audio"]["path"] for row in built.rows()] == keys
    assert [row["audio"]["bytes"] for row in built.rows()] == [audio(episode, index) for episode, index in expected]


def test_a_row_has_the_values_of_its_metadata(bucket):
    put_episode(bucket, "en/a", [entry(0, language="deu", dnsmos=2.5), {"start": 5, "end": 4}])
    first, second = build(bucket, "en/a").rows()
    del first["audio"], second["audio"]
    constant = {"text": "words of segment 0", "speaker_id": "SPEAKER_00"}
    assert first == {**constant, "duration_seconds": 1.5, "dnsmos": 2.5, "language": "de"}
    assert second == dict.fromkeys(["text", "speaker_id", "duration_seconds", "dnsmos"]) | {"language": "en"}


def test_an_index_without_rejects_has_only_the_rows(bucket):
    put_episode(bucket, "en/a", 4, size=300)
    built = build(bucket, "en/a")
    tally = Tally(episodes=1, episodes_with_rows=1, entries=4, rows=4, audio_bytes=1200)
    assert (built.record.tally, rejects(built)) == (tally, [])
    assert [row["key"] for row in built.index_rows()] == [row["audio"]["path"] for row in built.rows()]
    assert built.record.index is not None and built.record.index.rows == 4
    assert (built.record.language, built.record.number) == ("en", 7)
    assert built.record.digest == chunk_of("en/a").digest


def put_awkward(bucket) -> list[str]:
    """Upload episodes with every kind of permanent fault, and return the planned episodes."""
    put_episode(bucket, "en/good", 3)
    put_episode(bucket, "en/holes", 4, without=[1, 3])
    put_episode(bucket, "en/mixed", [entry(0), None, "text", entry(3, text="a\ud800b"), 7])
    put_episode(bucket, "en/silent", 2)
    obstore.put(bucket, f"{PREFIX}en/silent/silent_000001.mp3", b"")
    put_episode(bucket, "en/lost", 2, without=[0, 1])
    put_episode(bucket, "en/none", [])
    for name, data in (("blank", b" "), ("html", b"<html>"), ("dict", b"{}"), ("cut", b'[{"text": "a"')):
        put_episode(bucket, f"en/{name}", 0, metadata=data)
    obstore.put(bucket, f"{PREFIX}en/headless/headless_000000.mp3", b"audio without metadata")
    return [f"en/{name}" for name in "good holes mixed silent lost none blank html dict cut headless gone".split()]


def test_every_entry_and_episode_is_counted_once(bucket):
    built = build(bucket, *put_awkward(bucket))
    tally = built.record.tally
    assert (tally.episodes, tally.episodes_with_rows, tally.episodes_rejected) == (12, 4, 8)
    assert (tally.entries, tally.rows, tally.segments_rejected) == (16, 8, 8)
    assert len(built.rows()) == 8 and len(rejects(built)) == 15
    assert tally.repaired_texts == 1
    assert tally.rejects == {
        "audio_missing": 4,
        "entry_not_an_object": 3,
        "audio_empty": 1,
        "no_segments": 1,
        "metadata_empty": 1,
        "metadata_not_json": 2,
        "metadata_not_a_list": 1,
        "metadata_missing": 2,
    }
    assert sum(tally.rejects.values()) == 15
    assert built.record.index is not None and built.record.index.rows == len(built.index_rows()) == 15 + 8


def test_rejects_have_keys_and_reasons_in_plan_order(bucket):
    built = build(bucket, *put_awkward(bucket))
    assert rejects(built) == [
        (1, "en/holes/holes_000001.mp3", "audio_missing"),
        (3, "en/holes/holes_000003.mp3", "audio_missing"),
        (1, "en/mixed/mixed_000001.mp3", "entry_not_an_object"),
        (2, "en/mixed/mixed_000002.mp3", "entry_not_an_object"),
        (4, "en/mixed/mixed_000004.mp3", "entry_not_an_object"),
        (1, "en/silent/silent_000001.mp3", "audio_empty"),
        (0, "en/lost/lost_000000.mp3", "audio_missing"),
        (1, "en/lost/lost_000001.mp3", "audio_missing"),
        (None, "en/none/all_segments.json", "no_segments"),
        (None, "en/blank/all_segments.json", "metadata_empty"),
        (None, "en/html/all_segments.json", "metadata_not_json"),
        (None, "en/dict/all_segments.json", "metadata_not_a_list"),
        (None, "en/cut/all_segments.json", "metadata_not_json"),
        (None, "en/headless/all_segments.json", "metadata_missing"),
        (None, "en/gone/all_segments.json", "metadata_missing"),
    ]


def test_a_lone_surrogate_is_replaced_by_one_character(bucket):
    put_episode(bucket, "en/a", [entry(0, text="a\ud800b"), entry(1)])
    assert [row["text"] for row in build(bucket, "en/a").rows()] == ["a\ufffdb", "words of segment 1"]


def test_audio_too_large_for_a_row_group_is_rejected(bucket, monkeypatch):
    monkeypatch.setattr(module, "MAX_ROWGROUP_BYTES", 500)
    put_episode(bucket, "en/a", 2, size=501)
    put_episode(bucket, "en/b", 1, size=500)
    built = build(bucket, "en/a", "en/b")
    assert built.record.tally.rejects == {"audio_too_large": 2}
    assert built.record.tally.episodes_rejected == 1
    assert built.record.tally.rows == 1


def test_a_chunk_without_rows_has_only_an_index(bucket):
    put_episode(bucket, "en/a", [None])
    built = build(bucket, "en/a")
    assert (built.parts, built.record.files, built.record.bytes) == ([], (), 0)
    assert rejects(built) == [(0, "en/a/a_000000.mp3", "entry_not_an_object")]
    assert (built.record.tally.episodes_with_rows, built.record.tally.episodes_rejected) == (0, 1)
    assert built.record.all_files == (built.record.index,) and built.record.index is not None


@pytest.mark.parametrize("fault", ["audio missing", "audio empty", "metadata missing"])
def test_a_missing_object_of_a_young_episode_is_still_uploading(bucket, fault):
    put_episode(bucket, "en/a", 3, without=[1] if fault == "audio missing" else [])
    if fault == "audio empty":
        obstore.put(bucket, f"{PREFIX}en/a/a_000001.mp3", b"")
    if fault == "metadata missing":
        obstore.delete(bucket, f"{PREFIX}en/a/all_segments.json")
    with pytest.raises(StillUploading, match="en/a is still uploading") as caught:
        build(bucket, "en/a", settle_minutes=15.0)
    assert caught.value.transient and "SETTLE_MINUTES" in str(caught.value) and "\n" not in str(caught.value)
    assert build(bucket, "en/a").record.verdicts["ledger"].passed


def test_without_settling_time_missing_audio_is_rejected(bucket):
    put_episode(bucket, "en/a", 3, without=[1])
    built = build(bucket, "en/a", settle_minutes=0.0)
    assert built.record.tally.rejects == {"audio_missing": 1}


def test_missing_audio_is_rejected_once_the_settling_time_has_passed(bucket, monkeypatch):
    put_episode(bucket, "en/a", 2, without=[0])
    written = obstore.head(bucket, f"{PREFIX}en/a/all_segments.json")["last_modified"]
    before, after = written + timedelta(seconds=299), written + timedelta(minutes=5)
    monkeypatch.setattr(store_gets, "server_time", lambda: before)
    with pytest.raises(StillUploading):
        build(bucket, "en/a", settle_minutes=5.0)
    monkeypatch.setattr(store_gets, "server_time", lambda: after)
    built = build(bucket, "en/a", settle_minutes=5.0)
    assert built.record.tally.rejects == {"audio_missing": 1}


def test_a_complete_young_episode_is_built(bucket):
    put_episode(bucket, "en/a", 3)
    assert build(bucket, "en/a", settle_minutes=15.0).record.tally.rows == 3


@pytest.mark.parametrize("match", ["all_segments.json", "a_000001.mp3"])
def test_a_transient_error_is_no_reject(bucket, monkeypatch, match):
    put_episode(bucket, "en/a", 3)
    use_obstore(monkeypatch, store_gets, get=Flaky(obstore.get, times=4, match=match))
    built = build(bucket, "en/a")
    assert (built.record.tally.rows, built.record.tally.rejects, rejects(built)) == (3, {}, [])
    use_obstore(monkeypatch, store_gets, get=Flaky(obstore.get, times=99, match=match))
    with pytest.raises(RetriesExhausted):
        build(bucket, "en/a")


def test_a_failed_listing_is_no_reject(bucket, monkeypatch):
    use_obstore(monkeypatch, store_gets, list=Flaky(obstore.list, times=99))
    with pytest.raises(RetriesExhausted, match="listing processed/en/gone/"):
        build(bucket, "en/gone")


@pytest.mark.parametrize("match", ["b/all_segments.json", "a_000001.mp3"])
def test_no_thread_remains_after_an_error(bucket, monkeypatch, match):
    for name in "abc":
        put_episode(bucket, f"en/{name}", 3)
    refused = Flaky(obstore.get, times=99, match=match, error=lambda: PermissionDeniedError("403"))
    use_obstore(monkeypatch, store_gets, get=refused)
    with pytest.raises(AccessError) as caught:
        build(bucket, "en/a", "en/b", "en/c", workers=1)
    assert fetch_threads() == [] and caught.value.__traceback__


def test_no_thread_remains_after_a_failed_upload(bucket):
    put_episode(bucket, "en/a", 50, size=5000)
    upload = MemoryUpload(fail_at=100_000)
    with pytest.raises(ConnectionError, match="the transfer broke off") as caught:
        build(bucket, "en/a", upload=upload, rowgroup_bytes=50_000)
    assert fetch_threads() == [] and caught.value.__traceback__
    assert upload.parts == []
