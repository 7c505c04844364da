"""build_chunk with real clients and errors of S3: every row once and no reject, or one line and no build."""

import threading

import obstore
import pytest

from r2_hf_assets.bucket.byte_budget import ByteBudget
from r2_hf_assets.bucket.fetch import fetch_in_order
from r2_hf_assets.bucket.response import Fetched, GetResult
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import AccessError, RetriesExhausted
from r2_hf_assets.retry import Retry, default_retry
from r2_hf_assets.settings import BucketSettings
from r2_hf_assets_tests.fault.transient_errors import CAUSES, FAULTS, end_fault, inject
from r2_hf_assets_tests.support.build_samples import (
    PREFIX,
    MemoryBuild,
    audio,
    build_in_memory,
    chunk_of,
    fetch_threads,
    put_episode,
)
from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox.s3.faults import FOR_EVER, S3Fault

EPISODES = ("en/a", "en/b")
SEGMENTS = 4
TARGETS = {"metadata": r"en/a/all_segments\.json", "audio": r"en/b/b_000002\.mp3"}
BY_REQUEST = [name for name in FAULTS if name != "refused"]


@pytest.fixture
def bucket(world: World):
    for episode in EPISODES:
        put_episode(world.store(), episode, SEGMENTS, size=3000)
    return world


def build(store, *episodes: str) -> MemoryBuild:
    return build_in_memory(chunk_of(*(episodes or EPISODES)), store, retry=None)


def check_whole(built: MemoryBuild) -> None:
    rows = [row["audio"] for row in built.rows()]
    expected = [(episode, index) for episode in EPISODES for index in range(SEGMENTS)]
    assert [row["path"] for row in rows] == [f"{PREFIX}{e}/{e[-1]}_{i:06d}.mp3" for e, i in expected]
    assert [row["bytes"] for row in rows] == [audio(episode, index, 3000) for episode, index in expected]
    assert built.rejects() == [] and [row["key"] for row in built.index_rows()] == [row["path"] for row in rows]


@pytest.mark.parametrize("times", [1, 6], ids=["once", "burst"])
@pytest.mark.parametrize("target", [*TARGETS.values(), "."], ids=[*TARGETS, "anything"])
@pytest.mark.parametrize("fault", BY_REQUEST)
def test_a_transient_error_loses_no_row(bucket, proxy, store, fault, target, times):
    inject(proxy, fault, target, times)
    check_whole(build(store))
    assert proxy.count(target) >= times, "the fault was met"


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_permanent_error_is_one_line_and_no_reject(bucket, proxy, store, fault, target):
    inject(proxy, fault, target)
    with pytest.raises(RetriesExhausted) as caught:
        build(store)
    message = str(caught.value)
    assert CAUSES[fault] in message and "a later run will try again" in message and "\n" not in message
    assert message.startswith("GET processed/en/") and caught.value.transient
    assert fetch_threads() == []
    end_fault(proxy, fault)
    check_whole(build(store))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_listing_rejects_no_episode(bucket, proxy, store, fault):
    """An episode without metadata is listed before it is rejected, and that request may fail too."""
    obstore.delete(bucket.store(), f"{PREFIX}en/a/all_segments.json")
    inject(proxy, fault, "list-type=2")
    with pytest.raises(RetriesExhausted) as caught:
        build(store)
    assert CAUSES[fault] in str(caught.value) and "\n" not in str(caught.value)
    end_fault(proxy, fault)
    assert build(store).record.tally.rejects == {"metadata_missing": 1}


def test_connections_refused_for_a_while_are_retried(bucket, proxy, store, monkeypatch):
    patient = Retry(attempts=50, base=0.02, cap=0.05)
    monkeypatch.setattr("r2_hf_assets.retry.DEFAULT", patient)
    proxy.refuse()
    threading.Timer(0.5, proxy.listen).start()
    check_whole(build(store))


REFUSALS = {
    "AccessDenied": (403, "R2_ACCESS_KEY_ID and its rights"),
    "InvalidAccessKeyId": (403, "R2_ACCESS_KEY_ID"),
    "SignatureDoesNotMatch": (403, "R2_SECRET_ACCESS_KEY"),
    "Unauthorized": (401, "the token is refused"),
    "NoSuchBucket": (404, "R2_BUCKET"),
    "SomethingNew": (403, "refuses the credentials"),
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_midway_is_one_line_and_no_reject(bucket, proxy, store, code, target):
    status, advice = REFUSALS[code]
    proxy.inject(S3Fault(target, status=status, code=code, times=FOR_EVER))
    with pytest.raises(AccessError) as caught:
        build(store)
    assert advice in str(caught.value) and "\n" not in str(caught.value)
    assert proxy.count(target) == 1, "a refusal is not retried"
    proxy.clear()
    check_whole(build(store))


def test_a_missing_bucket_rejects_nothing(bucket, r2):
    gone = BucketSettings(r2.endpoint_url, r2.access_key_id, r2.secret_access_key, f"{r2.name}-gone")
    with pytest.raises(AccessError, match="check R2_BUCKET"):
        build(Bucket(gone))


def test_an_object_replaced_during_its_get_is_the_old_or_the_new(bucket, proxy, store, monkeypatch):
    key, old, new = f"{PREFIX}en/a/big.mp3", b"o" * 400_000, b"n" * 400_000
    obstore.put(bucket.store(), key, old)
    proxy.inject(S3Fault("big.mp3", "truncate"))
    replaced: list[object] = []
    try_acquire = ByteBudget.try_acquire

    def replace_and_acquire(budget: ByteBudget, turn: int, size: int) -> bool:  # between headers and body
        if not replaced:
            replaced.append(obstore.put(bucket.store(), key, new))
        return try_acquire(budget, turn, size)

    monkeypatch.setattr(ByteBudget, "try_acquire", replace_and_acquire)
    ((_, fetched),) = fetch(store, key)
    assert isinstance(fetched, Fetched) and fetched.body() in (old, new)
    assert replaced and proxy.count("big.mp3") >= 2


def test_an_object_with_too_long_a_key_is_missing(bucket, proxy, store):
    name = "x" * 480
    put_episode(bucket.store(), f"en/{name}", 1, without=[0])
    built = build(store, f"en/{name}", "en/a")
    assert built.record.tally.rejects == {"audio_missing": 1}
    longer = f"{PREFIX}en/{'y' * 1100}.mp3"
    assert fetch(store, longer) == [(longer, None)]
    assert proxy.count("yyyy") == 0, "S3 responds 400 to such a key, as to a broken request"


def fetch(store, *keys: str) -> list[tuple[str, GetResult]]:
    return list(fetch_in_order(keys, str, store, workers=2, max_bytes=10**6, limit=10**7, retry=default_retry()))
