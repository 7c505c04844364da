"""build_chunk over HTTP from a server with another clock, huge objects, content encodings and errors."""

import gzip
import tracemalloc
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any

import obstore
import pyarrow as pa
import pytest

from r2_hf_assets.bucket.segments import METADATA_MAX_BYTES, Segment
from r2_hf_assets.errors import AccessError, R2HfError, StillUploading
from r2_hf_assets.reconcile.verify import filter_usable
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
from r2_hf_assets_tests.support.objects_server import ObjectsServer, Response, Rule, error
from r2_hf_assets_tests.support.store_gets import MemoryBucket
from r2_hf_assets_tests.support.world import World

QUICK = Retry(attempts=4, base=0.004, cap=0.01)
SETTLE = 15.0
METADATA = f"{PREFIX}en/a/all_segments.json"


def key(index: int, episode: str = "a") -> str:
    return f"{PREFIX}en/{episode}/{episode}_{index:06d}.mp3"


def episode(segments: int = 3, **options: Any) -> dict[str, bytes]:
    """Return the objects of the episode en/a."""
    store = MemoryBucket()
    put_episode(store, "en/a", segments, **options)
    listed = [item["path"] for batch in obstore.list(store) for item in batch]
    return {path: bytes(obstore.get(store, path).bytes()) for path in listed}


def build(server: ObjectsServer, **options: Any) -> MemoryBuild:
    return build_in_memory(chunk_of("en/a"), server.bucket(), retry=QUICK, **options)


def rows(built: MemoryBuild) -> list[tuple[str, bytes]]:
    return [(row["audio"]["path"], row["audio"]["bytes"]) for row in built.rows()]


def ledger(built: MemoryBuild) -> dict[str, tuple[str, str]]:
    """Return reason and detail by key."""
    return {row["key"]: (row["reject_reason"], row["reject_detail"]) for row in built.rejects()}


def responding(responses: Mapping[str, Response]) -> Rule:
    return lambda key, count: responses.get(key)


# clocks


class Clock:
    """Rule of a server whose clock is `ahead` of the local one, with objects written `ago` by its own clock."""

    def __init__(self, objects: Mapping[str, bytes], ahead: timedelta, ago: timedelta, sends_date: bool = True) -> None:
        self.objects, self.sends_date = objects, sends_date
        self.now = datetime.now(UTC) + ahead
        self.written = self.now - ago

    def __call__(self, key: str, count: int) -> Response | None:
        headers = {"Date": format_datetime(self.now, usegmt=True) if self.sends_date else ""}
        headers["Last-Modified"] = format_datetime(self.written, usegmt=True)
        if key in self.objects:
            return Response(200, self.objects[key], headers)
        if not key.startswith("?"):
            return None
        stamp = f"<Contents><LastModified>{self.written.isoformat()}</LastModified></Contents>"
        listing = f"<ListBucketResult><IsTruncated>false</IsTruncated>{stamp}</ListBucketResult>"
        return Response(200, listing.encode(), headers)


BEHIND, AHEAD = -timedelta(minutes=14), timedelta(minutes=14)
YOUNG, OLD = timedelta(minutes=5), timedelta(minutes=20)
MISSING = {"audio": [key(1)], "metadata": [METADATA]}


@pytest.mark.parametrize("missing", MISSING.values(), ids=MISSING)
@pytest.mark.parametrize("ahead", [BEHIND, AHEAD], ids=["behind", "ahead"])
def test_the_age_of_an_episode_uses_the_servers_clock(ahead, missing):
    objects = {name: body for name, body in episode().items() if name not in missing}
    with ObjectsServer({}, Clock(objects, ahead, YOUNG)) as server, pytest.raises(StillUploading):
        build(server, settle_minutes=SETTLE)
    with ObjectsServer({}, Clock(objects, ahead, OLD)) as server:
        assert ledger(build(server, settle_minutes=SETTLE))[missing[0]][0].endswith("_missing")


@pytest.mark.parametrize("ahead", [BEHIND, AHEAD], ids=["behind", "ahead"])
def test_settling_in_reconcile_uses_the_servers_clock(ahead):
    for ago, settling in ((YOUNG, True), (OLD, False)):
        with ObjectsServer({}, Clock(episode(1), ahead, ago)) as server:
            (segment,) = Source(server.bucket(), timedelta(minutes=SETTLE), QUICK).items(chunk_of("en/a"), 1)
        assert isinstance(segment, Segment) and segment.settling is settling


@pytest.mark.parametrize("missing", MISSING.values(), ids=MISSING)
def test_without_a_date_header_the_local_clock_is_used(missing):
    objects = {name: body for name, body in episode().items() if name not in missing}
    with ObjectsServer({}, Clock(objects, timedelta(0), YOUNG, sends_date=False)) as server:
        with pytest.raises(StillUploading):
            build(server, settle_minutes=SETTLE)
        assert ledger(build(server, settle_minutes=1.0))


def test_metadata_that_may_have_arrived_during_the_build_is_not_missing(monkeypatch):
    """It is requested far ahead of the audio, and the age of the episode is read when its turn comes."""
    objects = {name: body for name, body in episode().items() if name != METADATA}
    monkeypatch.setattr(
        "r2_hf_assets.shards.build.time", SimpleNamespace(monotonic=chain([0.0], repeat(600.0)).__next__)
    )
    with ObjectsServer({}, Clock(objects, timedelta(0), OLD)) as server, pytest.raises(StillUploading):
        build(server, settle_minutes=SETTLE)


# sizes


HUGE = 40 * 10**9
MAX_SENT = 30 * 2**20  # the kernel buffers this much for a client that stops reading


def huge(length: int) -> Response:
    return Response(200, headers={"Content-Length": str(length)}, endless=bytes(65536))


def test_audio_with_too_large_a_content_length_is_rejected_unread():
    with ObjectsServer(episode(), responding({key(1): huge(HUGE)})) as server:
        built = build(server)
    assert ledger(built) == {key(1): ("audio_too_large", f"{HUGE} bytes")}
    assert [path for path, _ in rows(built)] == [key(0), key(2)]
    assert server.requests[key(1)] == 1 and server.endless_bytes < MAX_SENT


def test_metadata_with_too_large_a_content_length_is_rejected_unread():
    with ObjectsServer(episode(), responding({METADATA: huge(METADATA_MAX_BYTES + 1)})) as server:
        built = build(server)
    assert ledger(built) == {METADATA: ("metadata_too_large", f"{METADATA_MAX_BYTES + 1} bytes")}
    assert server.requests.total() == 1 and server.endless_bytes < MAX_SENT


# encodings


def encoded(body: bytes, encoding: str = "gzip") -> Response:
    return Response(200, body, {"Content-Encoding": encoding})


def test_gzip_content_encoding_is_decoded():
    objects = episode()
    plain = gzip.compress(objects[key(2)])
    responses = {name: encoded(gzip.compress(objects[name]), "aws-chunked, GZIP") for name in (METADATA, key(0))}
    responses |= {key(1): encoded(objects[key(1)], "utf-8"), key(2): Response(200, plain)}
    with ObjectsServer(objects, responding(responses)) as server:
        built = build(server)
    assert rows(built) == [(key(0), objects[key(0)]), (key(1), objects[key(1)]), (key(2), plain)]
    assert built.record.tally.audio_bytes == sum(len(body) for _, body in rows(built))


def test_gzip_content_encoding_on_a_real_server(world: World):
    client, objects = world.sandbox.s3.client(), episode()
    for name, body in objects.items():
        client.put_object(Bucket=world.bucket, Key=name, Body=gzip.compress(body), ContentEncoding="gzip")
    built = build_in_memory(chunk_of("en/a"), world.reader(), workers=2, retry=QUICK)
    assert rows(built) == [(key(index), audio("en/a", index)) for index in range(3)]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda body: body[:-9],
    "other bytes": lambda body: body[:-6] + bytes(6),
    "not gzip": lambda body: b"ID3 and sound",
    "trailing garbage": lambda body: body + b"garbage",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_gzip_is_rejected_with_a_reason(damage):
    objects = episode()
    damaged = encoded(damage(gzip.compress(objects[key(1)])))
    with ObjectsServer(objects, responding({key(1): damaged, key(2): encoded(gzip.compress(b""))})) as server:
        built = build(server)
        source = Source(server.bucket(), timedelta(0), QUICK)
        segments = [item for item in source.items(chunk_of("en/a"), 1) if isinstance(item, Segment)]
        assert [segment.key for segment in filter_usable(source, segments)] == [key(0)]
    rejects = ledger(built)
    assert rejects[key(1)][0] == "audio_not_gzip" and rejects[key(1)][1].startswith(f"{len(damaged.body)} bytes; ")
    assert rejects[key(2)][0] == "audio_empty" and [path for path, _ in rows(built)] == [key(0)]
    with ObjectsServer(objects, responding({METADATA: encoded(damage(gzip.compress(b"[]")))})) as server:
        assert ledger(build(server))[METADATA][0] == "metadata_not_gzip"


def test_a_gzip_bomb_is_decompressed_up_to_the_limit(monkeypatch):
    limit = 4 * 2**20
    monkeypatch.setattr(module, "MAX_ROWGROUP_BYTES", limit)
    bomb = gzip.compress(bytes(50 * limit))
    with ObjectsServer(episode(), responding({key(1): encoded(bomb)})) as server:
        tracemalloc.start()
        try:
            built = build(server)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert ledger(built) == {key(1): ("audio_too_large", f"{len(bomb)} bytes, more than {limit} when unpacked")}
    assert peak < 3 * limit


# memory after a failed build


FAILURES = {"a refusal": AccessError, "still uploading": StillUploading, "a broken transfer": ConnectionError}


@pytest.mark.parametrize("failure", FAILURES)
def test_failed_builds_release_their_memory(failure, without_collector):
    """Even while all errors are referenced and the garbage collector is off."""
    count, size = 24, 100_000
    objects = episode(count, size=size)
    responses = {key(10): error(403, "AccessDenied")} if failure == "a refusal" else {}
    if failure == "still uploading":
        del objects[key(10)]
    breaks = count * size // 2 if failure == "a broken transfer" else None
    errors: list[BaseException] = []
    young = Clock(objects, timedelta(0), timedelta(0))
    with ObjectsServer({}, lambda name, n: responses.get(name) or young(name, n)) as server:

        def fail() -> None:
            try:
                build(
                    server, upload=MemoryUpload(fail_at=breaks), settle_minutes=SETTLE, rowgroup_bytes=count * size // 3
                )
            except (R2HfError, ConnectionError) as caught:
                errors.append(caught)

        fail()  # imports and fills caches
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
    assert left < 5 * size and pa.total_allocated_bytes() - arrow < 5 * size, "each build had two megabytes in memory"
    assert fetch_threads() == []
