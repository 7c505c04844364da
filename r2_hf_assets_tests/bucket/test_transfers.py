"""A transfer's states: queued and paused time does not count, and no consumer waits for ever."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pycurl
import pytest

from r2_hf_assets.bucket import transfers as module
from r2_hf_assets.bucket.curl import CurlLoop
from r2_hf_assets.bucket.fetch import fetch_in_order
from r2_hf_assets.bucket.response import Attempt
from r2_hf_assets.bucket.transfers import Transfer, Transfers
from r2_hf_assets.errors import RetriesExhausted
from r2_hf_assets.retry import Retry, RetryState
from r2_hf_assets_tests.support.build_samples import fetch_threads
from r2_hf_assets_tests.support.objects_server import ObjectsServer, Response, error, wait_for

QUICK = Retry(attempts=5, base=0.004, cap=0.01)
SIZE, BUDGET = 50_000, 60_000  # of each object, and of the budget: one object at a time
KEYS = ["k0", "k1", "k2", "k3"]
OBJECTS = {key: bytes(SIZE) for key in KEYS}


def stream(server: ObjectsServer, retry: Retry = QUICK, workers: int = 4) -> Iterator[tuple[str, Any]]:
    return fetch_in_order(KEYS, str, server.bucket(), workers=workers, max_bytes=BUDGET, limit=10**6, retry=retry)


def sizes(results: Iterator[tuple[str, Any]]) -> list[tuple[str, int]]:
    return [(key, fetched.size) for key, fetched in results]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Transfers]:
    """Every Transfers of the test."""
    created: list[Transfers] = []
    real = Transfers.__init__

    def init(self: Transfers, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        created.append(self)

    monkeypatch.setattr(Transfers, "__init__", init)
    return created


def take_one(server: ObjectsServer, retry: Retry = QUICK) -> Iterator[tuple[str, Any]]:
    """Return a stream whose first object is taken and fills the budget, so that all others are paused."""
    rule, taken = server.rule, threading.Event()

    def later(key: str, count: int) -> Response | None:
        assert key == "k0" or taken.wait(20)
        return rule(key, count)

    server.rule = later
    results = stream(server, retry)
    assert next(results)[0] == "k0"
    taken.set()
    return results


def test_time_limits_do_not_count_paused_time(monkeypatch, opened):
    monkeypatch.setattr(module, "_ATTEMPT_S", 0.2)
    monkeypatch.setattr(module, "_LONGEST_STEP_S", 0.02)
    with ObjectsServer(OBJECTS) as server:
        results = take_one(server)
        opened[0]._read_timeout_s = 0.1
        wait_for(lambda: len(opened[0]._paused) == 3)
        time.sleep(0.5)
        assert sizes(results) == [(key, SIZE) for key in KEYS[1:]]
    assert set(server.requests.values()) == {1}


def test_a_body_that_arrives_byte_by_byte_exceeds_the_attempts_time(monkeypatch, opened):
    """Its read timeout never expires."""
    monkeypatch.setattr(module, "_ATTEMPT_S", 0.2)
    monkeypatch.setattr(module, "_LONGEST_STEP_S", 0.02)
    dripping = Response(200, OBJECTS["k1"], drip_s=0.02)
    with ObjectsServer(OBJECTS, lambda key, n: dripping if key == "k1" and n == 1 else None) as server:
        results = take_one(server)
        opened[0]._read_timeout_s = 0.1
        assert sizes(results) == [(key, SIZE) for key in KEYS[1:]]
    assert server.requests == {"k0": 1, "k1": 2, "k2": 1, "k3": 1}


def test_a_connection_that_breaks_during_a_pause_is_retried(opened):
    """The pause does not count towards the retries' time, and the budget counts the body once."""
    cut = Response(200, OBJECTS["k2"], sent=SIZE // 2)
    short = Retry(attempts=5, base=0.004, cap=0.01, limit=0.3)
    with ObjectsServer(OBJECTS, lambda key, n: cut if key == "k2" and n == 1 else None) as server:
        results = take_one(server, short)
        wait_for(lambda: len(opened[0]._paused) == 3)
        time.sleep(0.5)
        assert sizes(results) == [(key, SIZE) for key in KEYS[1:]]
    assert server.requests == {"k0": 1, "k1": 1, "k2": 2, "k3": 1}
    assert opened[0]._budget._used <= SIZE, "the last body may be taken and not released"


def test_the_time_for_retries_begins_when_the_get_is_sent():
    """On a slow connection the last object is queued for longer than its retries may take."""
    now = 0.0

    def slow(key: str, count: int) -> Response | None:
        nonlocal now
        now += 400.0
        return error(503, "SlowDown") if key == "k3" and count == 1 else None

    retry = Retry(attempts=5, base=0.004, cap=0.01, limit=600.0, clock=lambda: now)
    with ObjectsServer(OBJECTS, slow) as server:
        assert sizes(stream(server, retry, workers=1)) == [(key, SIZE) for key in KEYS]
    assert server.requests["k3"] == 2


@pytest.mark.timeout(30)
@pytest.mark.parametrize("step", ["add", "setopt"])
def test_a_request_that_can_not_be_sent_fails_its_consumer(monkeypatch, step):
    def broken(*_: Any) -> None:
        raise pycurl.error(27, "out of memory")

    if step == "setopt":
        monkeypatch.setattr(pycurl, "HEADERFUNCTION", -1)
    else:
        real = CurlLoop.__init__

        def init(self: CurlLoop, connections: int) -> None:
            real(self, connections)
            self.add = broken

        monkeypatch.setattr(CurlLoop, "__init__", init)
    with ObjectsServer(OBJECTS) as server, pytest.raises(RuntimeError, match="GET k0: fetching ended") as caught:
        sizes(stream(server))
    assert caught.value.__cause__ is not None
    assert fetch_threads() == [] and not server.requests


@pytest.mark.timeout(30)
@pytest.mark.parametrize("method", ["step", "remove"])
def test_a_loop_that_fails_notifies_its_consumers(monkeypatch, method):
    """Also when the handles can't be removed."""
    real = CurlLoop.__init__
    requested = threading.Event()

    def broken(*_: Any) -> Any:
        requested.wait(20)
        raise ZeroDivisionError("a mistake")

    def init(self: CurlLoop, connections: int) -> None:
        real(self, connections)
        if method == "step":
            setattr(self, method, broken)
        self.remove = broken

    monkeypatch.setattr(CurlLoop, "__init__", init)
    with ObjectsServer(OBJECTS, lambda key, n: requested.set()) as server:
        requested.set() if method == "step" else None
        with pytest.raises(RuntimeError, match="GET k0: fetching ended") as caught:
            sizes(stream(server))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert fetch_threads() == []


def test_closing_clears_every_state(opened):
    """A transfer in each state: done, running, paused, waiting for its retry, queued."""
    over = threading.Event()
    patient = Retry(attempts=50, base=1000, cap=1000, limit=10**9)

    def rule(key: str, count: int) -> Response | None:
        if key == "running":
            over.wait(20)
        return error(503, "SlowDown") if key == "waiting" else None

    keys = ["done", "paused", "running", "waiting", "queued"]
    with ObjectsServer({key: bytes(SIZE) for key in keys}, rule) as server:
        transfers = server.bucket().open_transfers(workers=4, max_bytes=BUDGET, retry=patient)
        submitted = {key: transfers.submit(key, 10**6) for key in keys[:1]}
        wait_for(lambda: submitted["done"].done)
        transfers._free.pop()  # so that three are in flight and the last is queued
        submitted |= {key: transfers.submit(key, 10**6) for key in keys[1:]}
        wait_for(lambda: len(transfers._paused) == len(transfers._retries) == 1 and len(transfers._active) == 2)
        start = time.monotonic()
        transfers.close()
        assert time.monotonic() - start < 2 and fetch_threads() == []
        over.set()
    for collection in (transfers._active, transfers._paused, transfers._retries, transfers._free, transfers._queue):
        assert not collection
    assert all(not one.attempt.pieces and one.handle is None for one in submitted.values())
    with pytest.raises(RuntimeError, match="GET running: fetching ended"):
        transfers.take(submitted["running"])


def test_closing_ends_a_take_in_another_thread():
    over, ended = threading.Event(), list[str]()

    def silent(key: str, count: int) -> None:
        over.wait(20)

    with ObjectsServer({}, silent) as server:
        transfers = server.bucket().open_transfers(workers=1, max_bytes=BUDGET, retry=QUICK)
        transfer = transfers.submit("k0", 10)

        def consume() -> None:
            try:
                transfers.take(transfer)
            except RuntimeError as error:
                ended.append(str(error))

        consumer = threading.Thread(target=consume)
        consumer.start()
        wait_for(lambda: server.requests["k0"] == 1)
        transfers.close()
        consumer.join(20)
        over.set()
    assert ended == ["GET k0: fetching ended"]


def test_closing_does_not_wait_for_a_name_lookup_that_hangs(monkeypatch):
    """libcurl's cleanup waits for it, but Ctrl-C must not."""
    monkeypatch.setattr(module, "_CLOSE_S", 0.02)
    over, real = threading.Event(), CurlLoop.close

    def hanging(self: CurlLoop) -> None:
        over.wait(20)
        real(self)

    monkeypatch.setattr(CurlLoop, "close", hanging)
    with ObjectsServer({}) as server:
        transfers = server.bucket().open_transfers(workers=1, max_bytes=BUDGET, retry=QUICK)
        transfers.close()
        assert fetch_threads() and not over.is_set()
        over.set()
        transfers._thread.join()


def test_a_transfer_that_fails_while_it_is_taken_is_no_missing_object():
    """The loop ends between the reads of its error and of `done`; None would become a reject."""

    class Ending(Transfer):
        reads = 0

        @property
        def done(self) -> bool:
            self.reads += 1
            if self.reads < 3:  # `take` waits until the loop has ended
                return False
            self.error = RuntimeError("closed")
            return True

        @done.setter
        def done(self, _: bool) -> None:
            pass

    with ObjectsServer({}) as server:
        transfers = server.bucket().open_transfers(workers=1, max_bytes=BUDGET, retry=QUICK)
        transfers.close()
        with pytest.raises(RuntimeError, match="GET k0: fetching ended"):
            transfers.take(Ending("GET k0", "", 0, Attempt(10), RetryState(QUICK, "")))


def test_an_error_is_raised_once():
    with ObjectsServer({}, lambda key, n: error(503, "SlowDown")) as server:
        transfers = server.bucket().open_transfers(workers=1, max_bytes=BUDGET, retry=QUICK)
        transfer = transfers.submit("k0", 10)
        with pytest.raises(RetriesExhausted):
            transfers.take(transfer)
        with pytest.raises(RuntimeError, match="fetching ended"):
            transfers.take(transfer)
        transfers.close()
