"""Manifests and build records: a round trip changes nothing, and damaged bytes raise one error with advice."""

import json
from datetime import UTC, datetime

import obstore
from hypothesis import example, given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from r2_hf_assets.errors import PlanError, ShardError
from r2_hf_assets.plan import chunks
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.shards import record as records
from r2_hf_assets.shards.record import BuildRecord, ShardFile, Tally
from r2_hf_assets_tests.property.metadata import any_json, any_text
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PREFIX

NESTED = b"[" * 2_000  # deeper than Python recurses
counts = st.integers(0, 2**63)
any_chunk = st.builds(
    ChunkManifest, any_text, st.integers(0, 10**6), any_text, st.lists(any_text, min_size=1, max_size=6).map(tuple)
)
words = st.text(max_size=20)  # without lone surrogates
files = st.builds(ShardFile, words, counts, counts, words)
tallies = st.builds(
    Tally,
    *[counts] * 6,
    rejects=st.dictionaries(words, counts, max_size=3),
    repaired_texts=counts,
    audio_bytes=counts,
)
any_record = st.builds(
    BuildRecord,
    words,
    counts,
    words,
    files=st.lists(files, max_size=4).map(tuple),
    index=st.none() | files,
    tally=tallies,
)
# Bytes removed and inserted; or one letter replaced, which keeps the JSON valid.
cuts = st.one_of(
    st.tuples(st.integers(0, 400), st.integers(0, 20), st.binary(max_size=6)),
    st.tuples(st.integers(100, 400), st.just(1), st.sampled_from([b"a", b"7"])),
)
named = st.text("abc/7", min_size=10, max_size=40)
long_chunk = st.builds(ChunkManifest, st.just("en"), st.integers(0, 99), named, st.lists(named, min_size=3).map(tuple))


def damaged(data: bytes, cut: tuple[int, int, bytes]) -> bytes:
    """Return `data` with a few bytes removed and others inserted."""
    at, length, put = cut
    at %= len(data)
    return data[:at] + put + data[at + length :]


@given(any_chunk)
def test_a_manifest_survives_the_round_trip(chunk):
    data = chunks.encode(chunk)
    assert chunks.decode(data, "x.json") == chunk
    assert chunks.encode(chunks.decode(data, "x.json")) == data


@given(any_chunk | long_chunk, cuts)
def test_a_damaged_manifest_never_has_other_episodes(chunk, cut):
    try:
        decoded = chunks.decode(damaged(chunks.encode(chunk), cut), "x.json")
    except PlanError as error:
        assert "x.json" in str(error) or "a chunk has a number" in str(error)
    else:
        assert decoded.digest == chunk.digest


@given(st.one_of(st.binary(), any_json.map(lambda value: json.dumps(value).encode())))
@example(NESTED)
def test_bytes_that_are_no_manifest_or_record_raise_one_line(data):
    for decode, error in ((lambda data: chunks.decode(data, "x.json"), PlanError), (records.decode, ShardError)):
        try:
            decode(data)
        except error as caught:
            assert "\n" not in str(caught)
        else:
            raise AssertionError("it was decoded")


@given(any_record)
def test_a_record_survives_the_round_trip(record):
    assert records.decode(records.encode(record)) == record


@given(any_record, cuts)
def test_a_damaged_record_raises_an_error_with_advice_or_is_a_record(record, cut):
    try:
        assert isinstance(records.decode(damaged(records.encode(record), cut)), BuildRecord)
    except ShardError as error:
        assert "build the chunk again" in str(error)


@given(st.one_of(st.binary(), any_json.map(lambda value: json.dumps(value).encode())))
@example(NESTED)
@example(b'{"since": "2026-01-01"}')
def test_any_bytes_in_the_stores_notes_are_read_or_reported_as_damaged(data):
    plan = PlanStore(MemoryStore(), "podcasts", PREFIX, NO_WAIT)
    for path in ("plan/index.json", "plan/identity.json", "plan/en/waiting.json"):
        obstore.put(plan.store, path, data)
    assert plan.planned() == [], "no chunk is planned"
    for read in (plan.check_identity, lambda: plan.waiting_since("en")):
        try:
            since = read()
        except PlanError as error:
            assert "\n" not in str(error)
        else:
            assert since is None or since <= datetime.max.replace(tzinfo=UTC)
