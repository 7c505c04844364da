"""build_chunk over HTTP from a server that a test bends: its clock, the sizes it names, the encodings it hands out."""

import gzip
import tracemalloc
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import obstore
import pyarrow as pa
import pytest

from r2_hf_assets.bucket.segments import METADATA_MAX_BYTES
from r2_hf_assets.errors import AccessError, R2HfError, StillUploading
from r2_hf_assets.reconcile.verify import filter_usable, segments_of
from r2_hf_assets.retry import Retry
from r2_hf_assets.shards import source as module
from r2_hf_assets.shards.source import Source
from r2_hf_assets_tests.support.build_samples import (
    PREFIX,
    MemoryBuild,
    MemoryUpload,
    audio,
    build_in_memory,
    chunk_of,
    fetch_threads,
    put_episode,
)
from r2_hf_assets_tests.support.objects_server import Answer, ObjectsServer, Rule, error
from r2_hf_assets_tests.support.store_gets import MemoryBucket
from r2_hf_assets_tests.support.world import World

QUICK = Retry(attempts=4, base=0.004, cap=0.01)
SETTLE = 15.0
METADATA = f"{PREFIX}en/a/all_segments.json"


def key(index: int, episode: str = "a") -> str:
    return f"{PREFIX}en/{episode}/{episode}_{index:06d}.mp3"


def episode(segments: int = 3, **options: Any) -> dict[str, bytes]:
    """The objects of the episode en/a."""
    store = MemoryBucket()
    put_episode(store, "en/a", segments, **options)
    listed = [item["path"] for batch in obstore.list(store) for item in batch]
    return {path: bytes(obstore.get(store, path).bytes()) for path in listed}


def build(server: ObjectsServer, **options: Any) -> MemoryBuild:
    return build_in_memory(chunk_of("en/a"), server.bucket(), retry=QUICK, **options)


def rows(built: MemoryBuild) -> list[tuple[str, bytes]]:
    return [(row["audio"]["path"], row["audio"]["bytes"]) for row in built.rows()]


def ledger(built: MemoryBuild) -> dict[str, tuple[str, str]]:
    """Reason and detail by key."""
    return {row["key"]: (row["reason"], row["detail"]) for row in built.rejects()}


def instead(answers: Mapping[str, Answer]) -> Rule:
    return lambda key, count: answers.get(key)


# clocks


class Clock:
    """A server whose clock is `ahead` of ours; everything in it was written `ago`, by that clock."""

    def __init__(self, objects: Mapping[str, bytes], ahead: timedelta, ago: timedelta, names_date: bool = True) -> None:
        self.objects, self.names_date = objects, names_date
        self.now = datetime.now(UTC) + ahead
        self.written = self.now - ago

    def __call__(self, key: str, count: int) -> Answer | None:
        headers = {"Date": format_datetime(self.now, usegmt=True) if self.names_date else ""}
        headers["Last-Modified"] = format_datetime(self.written, usegmt=True)
        if key in self.objects:
            return Answer(200, self.objects[key], headers)
        if not key.startswith("?"):
            return None
        stamp = f"<Contents><LastModified>{self.written.isoformat()}</LastModified></Contents>"
        found = f"<ListBucketResult><IsTruncated>false</IsTruncated>{stamp}</ListBucketResult>"
        return Answer(200, found.encode(), headers)


BEHIND, AHEAD = -timedelta(minutes=14), timedelta(minutes=14)
YOUNG, OLD = timedelta(minutes=5), timedelta(minutes=20)
MISSING = {"audio": [key(1)], "metadata": [METADATA]}


@pytest.mark.parametrize("missing", MISSING.values(), ids=MISSING)
@pytest.mark.parametrize("ahead", [BEHIND, AHEAD], ids=["behind", "ahead"])
def test_what_is_still_uploading_goes_by_the_servers_clock(ahead, missing):
    objects = {name: body for name, body in episode().items() if name not in missing}
    with ObjectsServer({}, Clock(objects, ahead, YOUNG)) as server, pytest.raises(StillUploading):
        build(server, settle_minutes=SETTLE)
    with ObjectsServer({}, Clock(objects, ahead, OLD)) as server:
        assert ledger(build(server, settle_minutes=SETTLE))[missing[0]][0].endswith("_missing")


@pytest.mark.parametrize("ahead", [BEHIND, AHEAD], ids=["behind", "ahead"])
def test_what_reconcile_calls_young_goes_by_the_servers_clock(ahead):
    for ago, settling in ((YOUNG, True), (OLD, False)):
        with ObjectsServer({}, Clock(episode(1), ahead, ago)) as server:
            (segment,) = segments_of(Source(server.bucket(), timedelta(minutes=SETTLE), QUICK), chunk_of("en/a"))
        assert segment.settling is settling


@pytest.mark.parametrize("missing", MISSING.values(), ids=MISSING)
def test_a_server_that_names_no_date_is_judged_by_our_clock(missing):
    objects = {name: body for name, body in episode().items() if name not in missing}
    with ObjectsServer({}, Clock(objects, timedelta(0), YOUNG, names_date=False)) as server:
        with pytest.raises(StillUploading):
            build(server, settle_minutes=SETTLE)
        assert ledger(build(server, settle_minutes=1.0))


# sizes


HUGE = 40 * 10**9
READ_AT_MOST = 30 * 2**20  # what the kernel takes for a client that reads no more


def huge(length: int) -> Answer:
    return Answer(200, headers={"Content-Length": str(length)}, endless=bytes(65536))


def test_audio_announced_as_too_large_is_a_reject_and_not_read():
    with ObjectsServer(episode(), instead({key(1): huge(HUGE)})) as server:
        built = build(server)
    assert ledger(built) == {key(1): ("audio_too_large", f"{HUGE} bytes")}
    assert [path for path, _ in rows(built)] == [key(0), key(2)]
    assert server.asked[key(1)] == 1 and server.endless_bytes < READ_AT_MOST


def test_metadata_announced_as_too_large_is_a_reject_and_not_read():
    with ObjectsServer(episode(), instead({METADATA: huge(METADATA_MAX_BYTES + 1)})) as server:
        built = build(server)
    assert ledger(built) == {METADATA: ("metadata_too_large", f"{METADATA_MAX_BYTES + 1} bytes")}
    assert server.asked.total() == 1 and server.endless_bytes < READ_AT_MOST


# encodings


def packed(body: bytes, encoding: str = "gzip") -> Answer:
    return Answer(200, body, {"Content-Encoding": encoding})


def test_objects_that_are_stored_packed_are_what_was_meant():
    objects = episode()
    plain = gzip.compress(objects[key(2)])
    answers = {name: packed(gzip.compress(objects[name]), "aws-chunked, GZIP") for name in (METADATA, key(0))}
    answers |= {key(1): packed(objects[key(1)], "utf-8"), key(2): Answer(200, plain)}
    with ObjectsServer(objects, instead(answers)) as server:
        built = build(server)
    assert rows(built) == [(key(0), objects[key(0)]), (key(1), objects[key(1)]), (key(2), plain)]
    assert built.record.tally.audio_bytes == sum(len(body) for _, body in rows(built))


def test_a_real_server_with_packed_objects(world: World):
    client, objects = world.sandbox.s3.client(), episode()
    for name, body in objects.items():
        client.put_object(Bucket=world.bucket, Key=name, Body=gzip.compress(body), ContentEncoding="gzip")
    built = build_in_memory(chunk_of("en/a"), world.reader(), workers=2, retry=QUICK)
    assert rows(built) == [(key(index), audio("en/a", index)) for index in range(3)]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda body: body[:-9],
    "other bytes": lambda body: body[:-6] + bytes(6),
    "none at all": lambda body: b"ID3 and sound",
    "garbage behind": lambda body: body + b"garbage",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_can_not_be_unpacked_is_a_reject_with_its_reason(damage):
    objects = episode()
    spoilt = packed(damage(gzip.compress(objects[key(1)])))
    with ObjectsServer(objects, instead({key(1): spoilt, key(2): packed(gzip.compress(b""))})) as server:
        built = build(server)
        source = Source(server.bucket(), timedelta(0), QUICK)
        assert [found.key for found in filter_usable(source, [*segments_of(source, chunk_of("en/a"))])] == [key(0)]
    found = ledger(built)
    assert found[key(1)][0] == "audio_not_gzip" and found[key(1)][1].startswith(f"{len(spoilt.body)} bytes; ")
    assert found[key(2)][0] == "audio_empty" and [path for path, _ in rows(built)] == [key(0)]
    with ObjectsServer(objects, instead({METADATA: packed(damage(gzip.compress(b"[]")))})) as server:
        assert ledger(build(server))[METADATA][0] == "metadata_not_gzip"


def test_a_bomb_is_unpacked_no_further_than_the_limit(monkeypatch):
    limit = 4 * 2**20
    monkeypatch.setattr(module, "MAX_ROWGROUP_BYTES", limit)
    bomb = gzip.compress(bytes(50 * limit))
    with ObjectsServer(episode(), instead({key(1): packed(bomb)})) as server:
        tracemalloc.start()
        try:
            built = build(server)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert ledger(built) == {key(1): ("audio_too_large", f"{len(bomb)} bytes, more than {limit} when unpacked")}
    assert peak < 3 * limit


# what a failed build leaves


FAILURES = {"a refusal": AccessError, "still uploading": StillUploading, "a broken transfer": ConnectionError}


@pytest.mark.parametrize("failure", FAILURES)
def test_failed_builds_keep_nothing_in_memory(failure, without_collector):
    """Although somebody keeps all the errors, and the garbage collector does not look."""
    count, size = 24, 100_000
    objects = episode(count, size=size)
    answers = {key(10): error(403, "AccessDenied")} if failure == "a refusal" else {}
    if failure == "still uploading":
        del objects[key(10)]
    breaks = count * size // 2 if failure == "a broken transfer" else None
    errors: list[BaseException] = []
    young = Clock(objects, timedelta(0), timedelta(0))
    with ObjectsServer({}, lambda name, n: answers.get(name) or young(name, n)) as server:

        def fail() -> None:
            try:
                build(
                    server, upload=MemoryUpload(fail_at=breaks), settle_minutes=SETTLE, rowgroup_bytes=count * size // 3
                )
            except (R2HfError, ConnectionError) as caught:
                errors.append(caught)

        fail()  # what is imported and cached once
        arrow = pa.total_allocated_bytes()
        tracemalloc.start()
        try:
            for _ in range(5):
                fail()
            left = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    assert [type(caught) for caught in errors] == [FAILURES[failure]] * 6
    assert all(caught.__traceback__ for caught in errors)
    assert left < 5 * size and pa.total_allocated_bytes() - arrow < 5 * size, "each had two megabytes in hand"
    assert fetch_threads() == []
