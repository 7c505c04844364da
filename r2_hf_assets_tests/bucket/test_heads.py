"""head_in_order: on the real S3 server, and over a server that breaks responses. It shares fetch_in_order's window."""

import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import obstore
import pytest

from r2_hf_assets import activity
from r2_hf_assets.bucket import transfers as module
from r2_hf_assets.bucket.fetch import fetch_in_order, head_in_order
from r2_hf_assets.bucket.response import Fetched, Head
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import AccessError, RetriesExhausted
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import BucketSettings
from r2_hf_assets_tests.support.build_samples import fetch_threads
from r2_hf_assets_tests.support.objects_server import WRITTEN, ObjectsServer, Response, error, etag, wait_for
from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox.s3.faults import S3Fault, S3Faults

QUICK = Retry(attempts=5, base=0.004, cap=0.01)
KEYS = [f"k{index:03d}" for index in range(40)]
OBJECTS = {key: f"body of {key}".encode() for key in KEYS}


def heads(bucket: Bucket, items: list[str], workers: int = 4) -> dict[str, Head | None]:
    return dict(head_in_order(items, str, bucket, workers=workers, retry=QUICK))


def etags(bucket: Bucket, items: list[str], workers: int = 4) -> list[tuple[str, str | None]]:
    stream = head_in_order(items, str, bucket, workers=workers, retry=QUICK)
    return [(key, head.etag if head else None) for key, head in stream]


EXPECTED = [(key, etag(body)) for key, body in OBJECTS.items()]


def through(proxy: S3Faults, world: World) -> Bucket:
    s3 = world.sandbox.s3
    return Bucket(BucketSettings(proxy.endpoint_url, s3.access_key, s3.secret_key, world.bucket))


# On the real S3 server.


def test_the_s3_servers_headers_of_each_object_in_order(world: World):
    names = ["b/é ~+%.json", *KEYS, "a&b=c?.json"]
    for number, name in enumerate(names):
        obstore.put(world.store(), name, bytes(number))
    stream = head_in_order(names, str, world.reader(), workers=4, retry=QUICK)
    for number, (name, (item, head)) in enumerate(zip(names, stream, strict=True)):
        assert item == name and head is not None
        assert (head.etag, head.size) == (etag(bytes(number)), number)
        assert abs(datetime.now(UTC) - head.modified) < timedelta(minutes=1)
    assert fetch_threads() == []


def test_a_changed_object_has_another_etag_and_an_absent_one_none(world: World):
    for key in ("same", "changed", "deleted"):
        obstore.put(world.store(), key, b"1")
    items = ["same", "changed", "deleted", "never", "same"]
    before = etags(world.reader(), items)
    obstore.put(world.store(), "changed", b"2")
    obstore.delete(world.store(), "deleted")
    after = etags(world.reader(), items)
    assert before == [(item, None if item == "never" else etag(b"1")) for item in items]
    assert after == [("same", etag(b"1")), ("changed", etag(b"2")), ("deleted", None), ("never", None), before[-1]]


def test_a_get_and_a_head_of_one_loop_give_the_same_etag(world: World):
    """One worker, so that one handle sends GETs after HEADs, and HEADs after GETs."""
    for key, body in OBJECTS.items():
        obstore.put(world.store(), key, body)
    with closing(world.reader().open_transfers(workers=1, max_bytes=10**6, retry=QUICK)) as transfers:
        for key, body in [*OBJECTS.items()][:10]:
            head = transfers.take(transfers.submit_head(key))
            fetched = transfers.take(transfers.submit(key, 100))
            assert isinstance(fetched, Fetched) and fetched.body() == body
            assert (head.etag, head.size) == (fetched.etag, fetched.size) == (etag(body), len(body))
            assert transfers.take(transfers.submit_head("absent")) is None
            assert transfers.take(transfers.submit("absent", 100)) is None


def test_the_etag_of_a_build_is_that_of_the_head(world: World):
    obstore.put(world.store(), "k", b"body")
    [(_, fetched)] = fetch_in_order(["k"], str, world.reader(), workers=1, max_bytes=9, limit=9, retry=QUICK)
    assert isinstance(fetched, Fetched) and etags(world.reader(), ["k"]) == [("k", fetched.etag)]


def test_a_wrong_secret_is_an_access_error(world: World):
    s3 = world.sandbox.s3
    with pytest.raises(AccessError, match=r"^HEAD k000: the bucket refuses the credentials; check R2_ACCESS_KEY_ID"):
        heads(Bucket(BucketSettings(s3.endpoint_url, s3.access_key, "wrong", world.bucket)), KEYS[:1])
    assert fetch_threads() == []


@pytest.mark.parametrize("fault", [S3Fault("k1", status=503, times=3), S3Fault("k1", kind="reset", times=3)])
def test_a_transient_error_of_the_s3_server_is_retried(world: World, fault: S3Fault):
    for key in ("k0", "k1", "k2"):
        obstore.put(world.store(), key, key.encode())
    with S3Faults(world.sandbox.s3.endpoint_url) as proxy:
        proxy.inject(replace(fault))
        assert etags(through(proxy, world), ["k0", "k1", "k2"]) == [(k, etag(k.encode())) for k in ("k0", "k1", "k2")]
        assert proxy.count("k1", "HEAD") == 4 and proxy.count("k[02]", "HEAD") == 2


# Over a server that breaks responses.


def test_every_item_is_yielded_in_order_when_the_first_responses_arrive_last():
    """Of each four objects, the last is served first."""
    done = {key: threading.Event() for key in KEYS}

    def backwards(key: str, count: int) -> None:
        index = int(key[1:])
        assert index % 4 == 3 or done[f"k{index + 1:03d}"].wait(20)
        done[key].set()

    with ObjectsServer(OBJECTS, backwards) as server:
        assert etags(server.bucket(), KEYS) == EXPECTED
        assert server.connections <= 4, "connections are reused"


def test_headers_of_an_object():
    with ObjectsServer(OBJECTS | {"empty": b""}) as server:
        got = heads(server.bucket(), ["k000", "empty"])
    written = datetime.fromtimestamp(WRITTEN, UTC)
    assert got == {"k000": Head(etag(b"body of k000"), 12, written), "empty": Head(etag(b""), 0, written)}


def test_items_without_a_key_and_keys_that_can_not_exist_need_no_request():
    items = ["-", "k000", "é" * 513, "k001"]
    with ObjectsServer(OBJECTS) as server:
        stream = head_in_order(
            items, lambda item: None if item == "-" else item, server.bucket(), workers=2, retry=QUICK
        )
        assert [bool(head) for _, head in stream] == [False, True, False, True]
    assert sorted(server.requests) == ["k000", "k001"]


BROKEN = {
    "500": Response(500),
    "503": error(503, "SlowDown"),
    "400": Response(400),
    "no ETag": Response(200, b"page", {"ETag": ""}),
    "an empty ETag": Response(200, b"page", {"ETag": '""'}),
    "no Content-Length": Response(200, b"page", {"Content-Length": ""}),
    "no Last-Modified": Response(200, b"page", {"Last-Modified": ""}),
    "redirect": Response(301, b"", {"Location": "http://127.0.0.1:1/elsewhere"}),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_response_without_an_objects_headers_is_requested_again(broken):
    with ObjectsServer(OBJECTS, lambda key, n: broken if key == "k003" and n <= 2 else None) as server:
        assert etags(server.bucket(), KEYS) == EXPECTED
    assert server.requests["k003"] == 3 and server.requests["k002"] == 1


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_lasting_error_is_never_a_missing_object(broken):
    taken: list[Any] = []
    server = ObjectsServer(OBJECTS, lambda key, n: broken if key == "k003" else None)
    with server, pytest.raises(RetriesExhausted, match=r"^HEAD k003: .*, still"):
        taken += head_in_order(KEYS, str, server.bucket(), workers=4, retry=QUICK)
    assert [key for key, _ in taken] == KEYS[:3]
    assert server.requests["k003"] == 5
    assert fetch_threads() == []


def test_retry_after_is_honoured():
    busy = Response(503, headers={"Retry-After": "1"})
    impatient = Retry(attempts=5, base=0.001, limit=0.5)
    server = ObjectsServer(OBJECTS, lambda key, n: busy if n == 1 else None)
    with server, pytest.raises(RetriesExhausted, match="after 1 attempts"):
        list(head_in_order(["k000"], str, server.bucket(), workers=1, retry=impatient))
    assert server.requests["k000"] == 1


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_not_retried(status):
    server = ObjectsServer(OBJECTS, lambda key, n: Response(status) if key == "k002" else None)
    with server, pytest.raises(AccessError, match=r"^HEAD k002: .*R2_ACCESS_KEY_ID"):
        heads(server.bucket(), KEYS)
    assert server.requests["k002"] == 1
    assert fetch_threads() == []


@pytest.mark.parametrize("times", [1, 3])
def test_a_connection_that_closes_without_a_response_is_retried(times):
    def drop(key: str, count: int) -> None:
        if key == "k003" and count <= times:
            raise ConnectionAbortedError

    with ObjectsServer(OBJECTS, drop) as server:
        assert etags(server.bucket(), KEYS) == EXPECTED
    assert server.requests["k003"] == times + 1


def test_a_head_that_times_out_is_retried(monkeypatch):
    monkeypatch.setattr(module, "READ_TIMEOUT_S", 0.3)
    over = threading.Event()

    def silent(key: str, count: int) -> None:
        if key == "k001" and count == 1:
            over.wait(20)

    with ObjectsServer(OBJECTS, silent) as server:
        assert etags(server.bucket(), KEYS[:3]) == EXPECTED[:3]
        over.set()
    assert server.requests == {"k000": 1, "k001": 2, "k002": 1}


def test_a_retried_head_is_a_head_and_a_retried_get_a_get():
    """One worker, so that they share a handle."""

    def once_busy(key: str, count: int) -> Response | None:
        return error(503, "SlowDown") if count % 2 else None

    with (
        ObjectsServer(OBJECTS, once_busy) as server,
        closing(server.bucket().open_transfers(workers=1, max_bytes=10**6, retry=QUICK)) as transfers,
    ):
        for key in KEYS[:4]:
            head, get = transfers.submit_head(key), transfers.submit(key, 100)
            assert isinstance(transfers.take(head), Head)
            assert isinstance(transfers.take(get), Fetched)
    assert set(server.requests.values()) == {4}


def test_each_head_is_progress(monkeypatch):
    """Otherwise the heartbeat of a run that compares a million objects would end."""
    advanced: list[None] = []
    monkeypatch.setattr(activity, "advance", lambda *_: advanced.append(None))
    with ObjectsServer(OBJECTS) as server:
        assert etags(server.bucket(), KEYS) == EXPECTED
    assert len(advanced) == len(KEYS)


def test_closing_early_leaves_no_thread():
    with ObjectsServer(OBJECTS) as server:
        stream = head_in_order(KEYS, str, server.bucket(), workers=4, retry=QUICK)
        assert fetch_threads() == [], "nothing starts before the first item is taken"
        assert next(stream)[0] == "k000"
        assert fetch_threads() != []
        stream.close()
        assert fetch_threads() == []


def test_closing_does_not_wait_for_a_silent_server():
    over = threading.Event()

    def hold(key: str, count: int) -> None:
        assert key != "k001" or over.wait(20)

    with ObjectsServer(OBJECTS, hold) as server:
        stream = head_in_order(KEYS, str, server.bucket(), workers=4, retry=QUICK)
        next(stream)
        wait_for(lambda: server.requests["k001"] == 1)
        stream.close()
        assert fetch_threads() == [] and not over.is_set()
        over.set()
