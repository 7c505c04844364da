"""Sizes that no uploader means: 100,000 segments in one episode, megabytes of text in one of them."""

import pyarrow.parquet as pq
from obstore.store import MemoryStore

from r2_hf_assets.shards.build import build_chunk
from r2_hf_assets.shards.verify import check_ledger
from r2_hf_assets_tests.build_samples import NO_WAIT, chunk_of, entry, limits, put_episode

SEGMENTS = 100_000
EVERY = 50  # one in so many has audio
TEXT_CHARACTERS = 5_000_000


def test_an_episode_of_100_000_segments_has_a_row_or_a_reject_for_each(tmp_path):
    bucket = MemoryStore()
    absent = [index for index in range(SEGMENTS) if index % EVERY]
    put_episode(bucket, "en/ep", SEGMENTS, size=50, without=absent)
    chunk, folder = chunk_of("en/ep"), tmp_path / "built"
    folder.mkdir()
    built = build_chunk(chunk, bucket, folder, limits(tmp_path), workers=8, retry=NO_WAIT)
    assert (built.record.tally.rows, built.record.tally.rejects) == (
        SEGMENTS - len(absent),
        {"audio_missing": len(absent)},
    )
    paths = [
        path
        for part in built.parts
        for path in pq.read_table(part.path)["audio"].combine_chunks().field("path").to_pylist()
    ]
    assert [int(path[-10:-4]) for path in paths] == list(range(0, SEGMENTS, EVERY))
    assert check_ledger(chunk, built.record, [part.path for part in built.parts], built.rejects_path).passed


def test_a_text_of_megabytes_is_kept_to_the_letter(tmp_path):
    bucket, text = MemoryStore(), "é" * TEXT_CHARACTERS
    put_episode(bucket, "en/ep", [entry(0, text=text), entry(1)])
    folder = tmp_path / "built"
    folder.mkdir()
    built = build_chunk(chunk_of("en/ep"), bucket, folder, limits(tmp_path), workers=8, retry=NO_WAIT)
    (part,) = built.parts
    assert pq.read_table(part.path)["text"].to_pylist() == [text, "words of segment 1"]
