"""Observer: a sample chosen by hash, one hash a row, and counts."""

from collections import Counter

import pyarrow as pa
import pytest
from xxhash import xxh3_64_intdigest

from r2_hf_assets.shards import observe
from r2_hf_assets_tests.shards.quality_samples import observed, row, table

ROWS = [row(index, body=b"%d" % index * 3, duration_seconds=float(index)) for index in range(1000)]


def sampled_rows(observer: observe.Observer) -> list[int]:
    return [int(sampled.key[-10:-4]) for sampled in observer.sample()]


def test_the_same_rows_give_the_same_sample_however_they_are_grouped():
    whole = observed(ROWS)
    assert observed(ROWS[:1], ROWS[1:700], ROWS[700:]).sample() == whole.sample()
    by_key = {r["audio"]["path"]: r for r in ROWS}
    for sampled in whole.sample():
        assert sampled.body == by_key[sampled.key]["audio"]["bytes"]
        assert sampled.duration == by_key[sampled.key]["duration_seconds"]


def test_a_table_of_several_batches_counts_as_one():
    observer = observe.Observer()
    observer.add(pa.concat_tables([table(ROWS[:300]), table(ROWS[300:])]))
    whole = observed(ROWS)
    assert (observer.counts, observer.hashes, observer.sample(), observer.stats()) == (
        whole.counts,
        whole.hashes,
        whole.sample(),
        whole.stats(),
    )


@pytest.mark.parametrize(("rows", "sampled"), [(0, 0), (1, 1), (3, 3), (50, 4), (1000, 10)])
def test_sample_size_of_a_small_chunk(rows, sampled):
    numbers = sampled_rows(observed(ROWS[:rows]))
    assert len(numbers) == len(set(numbers)) == sampled


def test_the_sample_of_a_large_chunk_is_bounded_and_spread():
    rows = [row(index, body=index.to_bytes(4, "little")) for index in range(40_000)]
    chunks = [rows[start : start + 4000] for start in range(0, len(rows), 4000)]
    observers = [observed(chunk[:1000], chunk[1000:]) for chunk in chunks]
    assert {len(observer.sample()) for observer in observers} == {24}
    numbers = [number % 4000 for observer in observers for number in sampled_rows(observer)]
    assert sum(number < 2000 for number in numbers) == pytest.approx(len(numbers) / 2, rel=0.25)


def test_large_bodies_are_not_sampled(monkeypatch):
    monkeypatch.setattr(observe, "_SAMPLE_BODY_BYTES", 10_000)
    rows = [row(index, body=bytes([index % 256]) * (20_000 if index % 10 == 0 else 3000)) for index in range(400)]
    observer = observed(rows[:200], rows[200:])
    assert [len(sampled.body) for sampled in observer.sample()] == [3000] * 4


def test_each_row_has_the_xxh3_of_its_audio():
    bodies = [b"", b"a", b"b", b"ab" * 20, b"x" * 1000, b"x" * 1001, b"x" * 500 + b"y" + b"x" * 499, b"a"]
    rows = [row(index, body=body) for index, body in enumerate(bodies)]
    hashes = observed(rows[:3], rows[3:]).hashes
    assert [*hashes] == [xxh3_64_intdigest(body) for body in bodies]
    assert len(set(hashes)) == 7, "two bodies are equal"


def test_values_are_compared_as_float32():
    edges = [row(0, duration_seconds=0.1, dnsmos=5.0), row(1, duration_seconds=3600.0, dnsmos=1.0)]
    assert observed(edges).counts == Counter(rows=2)
