"""Extreme sizes: 100,000 segments in one episode, megabytes of text in one segment."""

from r2_hf_assets_tests.support.build_samples import build_in_memory, chunk_of, entry, put_episode
from r2_hf_assets_tests.support.store_gets import MemoryBucket

SEGMENTS = 100_000
EVERY = 50  # one segment in 50 has audio
TEXT_CHARACTERS = 5_000_000


def test_an_episode_of_100_000_segments_has_a_row_or_a_reject_for_each():
    bucket = MemoryBucket()
    absent = [index for index in range(SEGMENTS) if index % EVERY]
    put_episode(bucket, "en/ep", SEGMENTS, size=50, without=absent)
    built = build_in_memory(chunk_of("en/ep"), bucket)
    assert (built.record.tally.rows, built.record.tally.rejects) == (
        SEGMENTS - len(absent),
        {"audio_missing": len(absent)},
    )
    assert [int(row["audio"]["path"][-10:-4]) for row in built.rows()] == list(range(0, SEGMENTS, EVERY))
    assert len(built.rejects()) == len(absent)


def test_a_text_of_megabytes_is_stored_unchanged():
    bucket, text = MemoryBucket(), "é" * TEXT_CHARACTERS
    put_episode(bucket, "en/ep", [entry(0, text=text), entry(1)])
    built = build_in_memory(chunk_of("en/ep"), bucket)
    assert [row["text"] for row in built.rows()] == [text, "words of segment 1"]
