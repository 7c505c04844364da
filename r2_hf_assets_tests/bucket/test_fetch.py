"""fetch_in_order over HTTP: order, items without a key, errors, and no thread left at the end."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from r2_hf_assets.bucket import fetch, transfers
from r2_hf_assets.bucket.byte_budget import ByteBudget
from r2_hf_assets.bucket.fetch import fetch_in_order
from r2_hf_assets.bucket.response import Fetched
from r2_hf_assets.bucket.transfers import Transfers
from r2_hf_assets.errors import AccessError, RetriesExhausted
from r2_hf_assets.retry import Retry
from r2_hf_assets_tests.support.build_samples import fetch_threads
from r2_hf_assets_tests.support.objects_server import WRITTEN, ObjectsServer, Response, Rule, error, wait_for

QUICK = Retry(attempts=5, base=0.004, cap=0.01)
LIMIT = 2**31
USUAL: dict[str, Any] = {"workers": 4, "max_bytes": 10**6, "limit": LIMIT, "retry": QUICK}


def objects(count: int) -> dict[str, bytes]:
    return {f"k{index:03d}": f"body {index}".encode() for index in range(count)}


def served(count: int, rule: Rule = lambda key, n: None) -> ObjectsServer:
    return ObjectsServer(objects(count), rule)


def keys(count: int) -> list[str]:
    return [*objects(count)]


def bodies(fetched) -> list[tuple[str, bytes | None]]:
    return [(item, result.body() if result else None) for item, result in fetched]


def test_every_item_is_yielded_with_its_body_in_order():
    with served(50) as server:
        assert bodies(fetch_in_order(keys(50), str, server.bucket(), **USUAL)) == [*objects(50).items()]
        assert bodies(fetch_in_order([], str, server.bucket(), **USUAL)) == []
        assert server.connections <= 4, "connections are reused"
    assert fetch_threads() == []


def test_size_body_and_age_of_an_object():
    with ObjectsServer({"a": b"12345", "empty": b""}) as server:
        (_, full), (_, empty) = fetch_in_order(["a", "empty"], str, server.bucket(), **USUAL)
    assert isinstance(full, Fetched) and (full.size, full.body()) == (5, b"12345")
    assert abs(datetime.now(UTC) - full.age - datetime.fromtimestamp(WRITTEN, UTC)) < timedelta(minutes=1)
    assert isinstance(empty, Fetched) and (empty.size, empty.body()) == (0, b"")


def test_a_large_body_is_received_in_pieces():
    large = bytes(range(256)) * 40_000
    with ObjectsServer({"large": large}) as server:
        [(_, fetched)] = fetch_in_order(["large"], str, server.bucket(), **USUAL)
    assert isinstance(fetched, Fetched) and len(fetched.pieces) > 1 and fetched.body() == large


def test_the_order_is_kept_when_the_first_responses_arrive_last():
    """Of each four objects, the last is served first."""
    done = {key: threading.Event() for key in keys(16)}

    def backwards(key: str, count: int) -> None:
        index = int(key[1:])
        if index % 4 < 3:
            assert done[f"k{index + 1:03d}"].wait(20)
        done[key].set()

    with served(16, backwards) as server:
        assert bodies(fetch_in_order(keys(16), str, server.bucket(), **USUAL)) == [*objects(16).items()]


def test_a_missing_object_is_none():
    items = ["k000", "absent", "k001", "folder/absent"]
    with served(2) as server:
        got = bodies(fetch_in_order(items, str, server.bucket(), **USUAL))
    assert got == [("k000", b"body 0"), ("absent", None), ("k001", b"body 1"), ("folder/absent", None)]


def test_items_without_a_key_are_yielded_in_order_without_a_request():
    items = ["-", "k000", "-", "-", "k001", "-"]
    with served(2) as server:
        store = server.bucket()
        got = bodies(fetch_in_order(items, lambda item: None if item == "-" else item, store, **USUAL))
    assert [item for item, _ in got] == items
    assert [body for _, body in got] == [None, b"body 0", None, None, b"body 1", None]
    assert sorted(server.requests) == ["k000", "k001"]


def test_the_same_key_twice_gives_two_results():
    with served(1) as server:
        assert bodies(fetch_in_order(["k000", "k000"], str, server.bucket(), **USUAL)) == [("k000", b"body 0")] * 2


def test_a_key_longer_than_s3_allows_is_not_requested():
    with served(1) as server:
        got = bodies(fetch_in_order(["é" * 513, "k000"], str, server.bucket(), **USUAL))
    assert [body for _, body in got] == [None, b"body 0"]
    assert [*server.requests] == ["k000"]


def test_items_are_read_only_a_window_ahead(monkeypatch):
    monkeypatch.setattr(fetch, "_WINDOW", 2)  # times 4 workers
    drawn: list[str] = []

    def items() -> Iterator[str]:
        for key in keys(40):
            drawn.append(key)
            yield key

    with served(40) as server:
        stream = fetch_in_order(items(), str, server.bucket(), **USUAL)
        assert drawn == []
        for taken in range(1, 41):
            next(stream)
            assert len(drawn) == min(40, taken + 7)
        assert next(stream, None) is None


@pytest.mark.parametrize("times", [1, 4])
def test_transient_errors_are_retried(times):
    with served(8, lambda key, n: error(503, "SlowDown") if key == "k003" and n <= times else None) as server:
        assert bodies(fetch_in_order(keys(8), str, server.bucket(), **USUAL)) == [*objects(8).items()]
    assert server.requests["k003"] == times + 1 and server.requests["k002"] == 1


def test_a_lasting_error_is_never_a_missing_object():
    with served(8, lambda key, n: error(503, "SlowDown") if key == "k003" else None) as server:
        taken: list[Any] = []
        with pytest.raises(RetriesExhausted, match=r"GET k003: the bucket returned HTTP 503 SlowDown, still"):
            taken += fetch_in_order(keys(8), str, server.bucket(), **USUAL)
    assert server.requests["k003"] == 5
    assert fetch_threads() == []


def test_retry_after_is_honoured():
    def busy(key: str, count: int) -> Response | None:
        return Response(503, headers={"Retry-After": "1"}) if count == 1 else None

    with served(1, busy) as server:
        impatient = Retry(attempts=5, base=0.001, limit=0.5)
        with pytest.raises(RetriesExhausted, match="after 1 attempts"):
            bodies(
                fetch_in_order(["k000"], str, server.bucket(), workers=1, max_bytes=100, limit=LIMIT, retry=impatient)
            )
    assert server.requests["k000"] == 1


BROKEN = {
    "broken off": Response(200, b"body 0 and more", sent=6),
    "broken off at the first byte": Response(200, b"body 0", sent=0),
    "shorter than its Content-Length": Response(200, b"bod", {"Content-Length": "6"}, sent=3),
    "no Content-Length": Response(200, b"body 0", {"Content-Length": ""}, sent=6),
    "no Last-Modified": Response(200, b"body 0", {"Last-Modified": ""}),
    "redirect": Response(301, b"", {"Location": "http://127.0.0.1:1/elsewhere"}),
    "a proxy's 404": Response(404, b"<html>not here</html>"),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_response_that_is_no_complete_object_is_requested_again(broken):
    with served(2, lambda key, n: broken if n == 1 and key == "k000" else None) as server:
        assert bodies(fetch_in_order(keys(2), str, server.bucket(), **USUAL)) == [*objects(2).items()]
    assert server.requests == {"k000": 2, "k001": 1}


def test_a_broken_body_is_counted_once_in_the_budget(monkeypatch):
    """Otherwise each broken body would reduce the budget for ever."""
    budgets: list[ByteBudget] = []
    real = Transfers.__init__

    def watched(self: Transfers, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        budgets.append(self._budget)

    monkeypatch.setattr(Transfers, "__init__", watched)
    with served(8, lambda key, n: Response(200, b"body 4", sent=3) if key == "k004" and n < 3 else None) as server:
        stream = fetch_in_order([*keys(8), "-"], lambda item: None if item == "-" else item, server.bucket(), **USUAL)
        assert len(bodies(stream)) == 9
    assert server.requests["k004"] == 3
    (budget,) = budgets
    assert budget._used in (0, 6), "the last body may be taken and not released"


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_raise_one_line_without_a_retry(status):
    refused = Response(status, b"<html>no</html>")
    with served(8, lambda key, n: refused if key == "k002" else None) as server, pytest.raises(AccessError) as caught:
        bodies(fetch_in_order(keys(8), str, server.bucket(), **USUAL))
    assert server.requests["k002"] == 1
    assert "R2_ACCESS_KEY_ID" in str(caught.value) and "\n" not in str(caught.value)
    assert fetch_threads() == []


def test_an_error_is_raised_after_all_earlier_results():
    taken = []
    refused = error(403, "AccessDenied")
    with served(20, lambda key, n: refused if key == "k005" else None) as server, pytest.raises(AccessError):
        for item, _ in fetch_in_order(keys(20), str, server.bucket(), **USUAL):
            taken.append(item)
    assert taken == keys(5)
    assert fetch_threads() == []


def test_an_error_of_the_items_propagates_and_leaves_no_thread():
    def items() -> Iterator[str]:
        yield from keys(3)
        raise LookupError("no more")

    with served(3) as server, pytest.raises(LookupError):
        bodies(fetch_in_order(items(), str, server.bucket(), **USUAL))
    assert fetch_threads() == []


@pytest.mark.parametrize("where", ["granted", "try_acquire"])
def test_a_programming_error_is_not_retried(monkeypatch, where):
    """Neither in the loop nor in a callback of libcurl."""

    def broken(*_: Any) -> bool:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(ByteBudget, where, broken)
    with served(1) as server, pytest.raises(RuntimeError, match="fetching ended"):
        bodies(fetch_in_order(keys(1), str, server.bucket(), **USUAL))
    assert server.requests.total() <= 1
    assert fetch_threads() == []


def test_closing_early_leaves_no_thread():
    with served(100) as server:
        stream = fetch_in_order(keys(100), str, server.bucket(), workers=4, max_bytes=10, limit=LIMIT, retry=QUICK)
        assert next(stream)[0] == "k000"
        assert fetch_threads() != []
        stream.close()
        assert fetch_threads() == []


def test_closing_early_stops_retries():
    """A consumer that ends while the bucket is down does not wait for the retries in flight."""
    with served(2, lambda key, n: error(503, "SlowDown") if key == "k001" else None) as server:
        patient = Retry(attempts=50, base=1000, cap=1000, limit=10**9)
        stream = fetch_in_order(keys(2), str, server.bucket(), workers=2, max_bytes=10, limit=LIMIT, retry=patient)
        next(stream)
        wait_for(lambda: server.requests["k001"] == 1)
        stream.close()
    assert server.requests["k001"] == 1
    assert fetch_threads() == []


def test_closing_does_not_wait_for_a_silent_server():
    held, over = threading.Event(), threading.Event()

    def hold(key: str, count: int) -> None:
        if key == "k001":
            held.set()
            over.wait(20)

    with served(2, hold) as server:
        stream = fetch_in_order(keys(2), str, server.bucket(), **USUAL)
        next(stream)
        assert held.wait(20)
        stream.close()
        assert fetch_threads() == [] and not over.is_set()
        over.set()


def test_a_request_that_times_out_is_retried(monkeypatch):
    monkeypatch.setattr(transfers, "READ_TIMEOUT_S", 0.3)
    over = threading.Event()

    def silent(key: str, count: int) -> None:
        if key == "k001" and count == 1:
            over.wait(20)

    with served(3, silent) as server:
        assert bodies(fetch_in_order(keys(3), str, server.bucket(), **USUAL)) == [*objects(3).items()]
        over.set()
    assert server.requests == {"k000": 1, "k001": 2, "k002": 1}


def test_an_endpoint_without_a_server_raises_one_line():
    server = served(1)
    server._server.server_close()
    with pytest.raises(RetriesExhausted, match=r"no connection\); check R2_ENDPOINT_URL if this lasts"):
        bodies(fetch_in_order(["k000"], str, server.bucket(), **USUAL))
    assert fetch_threads() == []


def test_the_proxy_of_the_environment_is_used(monkeypatch):
    with served(2) as server:
        proxied = server.bucket()
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        with pytest.raises(RetriesExhausted, match="no connection"):
            bodies(fetch_in_order(keys(2), str, proxied, **USUAL))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert bodies(fetch_in_order(keys(2), str, proxied, **USUAL)) == [*objects(2).items()]
