"""fetch_in_order: order, passing through, trouble, and an end that leaves no thread behind."""

import threading
from collections.abc import Iterator
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, MemoryStore

from r2_hf_assets.bucket import fetch
from r2_hf_assets.bucket.fetch import Room, fetch_in_order
from r2_hf_assets.errors import AccessError, GaveUp
from r2_hf_assets.retry import Retry
from r2_hf_assets_tests.build_samples import NO_WAIT, Flaky, fetch_threads, use_obstore

USUAL: dict[str, Any] = {"workers": 4, "max_bytes": 10**6, "retry": NO_WAIT}


def store_of(count: int) -> MemoryStore:
    store = MemoryStore()
    for index in range(count):
        obstore.put(store, f"k{index:03d}", f"body {index}".encode())
    return store


def keys(count: int) -> list[str]:
    return [f"k{index:03d}" for index in range(count)]


def bodies(fetched) -> list[tuple[str, bytes | None]]:
    return [(item, bytes(found.body) if found else None) for item, found in fetched]


def same(item: str) -> str:
    return item


def test_every_item_with_its_body_in_order():
    wanted = [(key, f"body {index}".encode()) for index, key in enumerate(keys(50))]
    assert bodies(fetch_in_order(keys(50), same, store_of(50), **USUAL)) == wanted
    assert bodies(fetch_in_order([], same, store_of(0), **USUAL)) == []


def test_the_facts_of_an_object(tmp_path):
    store = LocalStore(tmp_path)
    obstore.put(store, "a", b"12345")
    [(_, found)] = fetch_in_order(["a"], same, store, **USUAL)
    assert found is not None
    assert (found.size, len(found.body)) == (5, 5)
    assert found.last_modified == obstore.head(store, "a")["last_modified"]


def test_the_order_is_kept_when_the_first_answers_come_last(monkeypatch):
    """Within each four, an object is answered only after the one behind it."""
    done = {key: threading.Event() for key in keys(16)}

    def backwards(store, key):
        index = int(key[1:])
        if index % 4 < 3:
            done[f"k{index + 1:03d}"].wait(20)
        answer = obstore.get(store, key)
        done[key].set()
        return answer

    use_obstore(monkeypatch, fetch, get=backwards)
    got = bodies(fetch_in_order(keys(16), same, store_of(16), **USUAL))
    assert got == [(key, f"body {index}".encode()) for index, key in enumerate(keys(16))]


def test_what_is_missing_is_none_in_its_place():
    items = ["k000", "absent", "k001", "folder/absent"]
    got = bodies(fetch_in_order(items, same, store_of(2), **USUAL))
    assert got == [("k000", b"body 0"), ("absent", None), ("k001", b"body 1"), ("folder/absent", None)]


def test_items_without_a_key_pass_through_in_their_place(monkeypatch):
    flaky = Flaky(obstore.get, times=0)
    use_obstore(monkeypatch, fetch, get=flaky)
    items = ["-", "k000", "-", "-", "k001", "-"]
    got = bodies(fetch_in_order(items, lambda item: None if item == "-" else item, store_of(2), window=2, **USUAL))
    assert [item for item, _ in got] == items
    assert [body for _, body in got] == [None, b"body 0", None, None, b"body 1", None]
    assert sorted(flaky.calls) == ["k000", "k001"]


def test_the_same_key_twice_is_two_answers():
    assert bodies(fetch_in_order(["k000", "k000"], same, store_of(1), **USUAL)) == [("k000", b"body 0")] * 2


def test_reads_its_items_only_a_window_ahead():
    drawn: list[str] = []

    def items() -> Iterator[str]:
        for key in keys(40):
            drawn.append(key)
            yield key

    stream = fetch_in_order(items(), same, store_of(40), window=6, **USUAL)
    assert drawn == []
    for taken in range(1, 41):
        next(stream)
        assert len(drawn) == min(40, taken + 5)
    assert next(stream, None) is None


@pytest.mark.parametrize("times", [1, 4])
def test_passing_trouble_is_retried(monkeypatch, times):
    flaky = Flaky(obstore.get, times=times, match="k003")
    use_obstore(monkeypatch, fetch, get=flaky)
    got = bodies(fetch_in_order(keys(8), same, store_of(8), **USUAL))
    assert [body for _, body in got] == [f"body {index}".encode() for index in range(8)]
    assert flaky.calls["k003"] == times + 1 and flaky.calls["k002"] == 1


def test_trouble_that_does_not_pass_is_never_a_missing_object(monkeypatch):
    flaky = Flaky(obstore.get, times=5, match="k003")
    use_obstore(monkeypatch, fetch, get=flaky)
    taken: list[Any] = []
    with pytest.raises(GaveUp, match="GET k003"):
        taken += fetch_in_order(keys(8), same, store_of(8), **USUAL)
    assert flaky.calls["k003"] == 5
    assert fetch_threads() == []


def test_a_body_that_ends_early_is_asked_for_again(monkeypatch):
    class Short:
        def __init__(self, answer) -> None:
            self.meta, self._answer = answer.meta, answer

        def bytes(self) -> bytes:
            return bytes(self._answer.bytes())[:-1]

    answers = iter([Short, lambda answer: answer])
    use_obstore(monkeypatch, fetch, get=lambda store, key: next(answers)(obstore.get(store, key)))
    assert bodies(fetch_in_order(["k000"], same, store_of(1), **USUAL)) == [("k000", b"body 0")]


def test_a_body_that_breaks_off_takes_its_room_once(monkeypatch):
    """Else the bytes of every broken body would be counted for ever, and the stream would run one at a time."""

    class Broken:
        def __init__(self, answer) -> None:
            self.meta = answer.meta

        def bytes(self) -> bytes:
            raise GenericError("connection reset")

    rooms: list[Room] = []

    class Watched(Room):
        def __init__(self, max_bytes: int) -> None:
            super().__init__(max_bytes)
            rooms.append(self)

    broken = Flaky(obstore.get, times=2)
    broken.error = RuntimeError

    def get(store, key):
        try:
            return broken(store, key)
        except RuntimeError:
            return Broken(obstore.get(store, key))

    monkeypatch.setattr(fetch, "Room", Watched)
    use_obstore(monkeypatch, fetch, get=get)
    assert len(bodies(fetch_in_order(keys(8), same, store_of(8), **USUAL))) == 8
    assert broken.calls["k004"] == 3
    assert [room._used for room in rooms] == [0]


@pytest.mark.parametrize("refusal", [PermissionDeniedError, UnauthenticatedError])
def test_refused_credentials_are_one_line_and_not_repeated(monkeypatch, refusal):
    flaky = Flaky(obstore.get, times=99, match="k002", error=lambda: refusal("<Error>403</Error>\nrequest 1234"))
    use_obstore(monkeypatch, fetch, get=flaky)
    with pytest.raises(AccessError) as caught:
        bodies(fetch_in_order(keys(8), same, store_of(8), **USUAL))
    assert flaky.calls["k002"] == 1
    assert "R2_ACCESS_KEY_ID" in str(caught.value) and "\n" not in str(caught.value)
    assert fetch_threads() == []


def test_an_error_in_the_middle_comes_after_all_that_was_before_it(monkeypatch):
    use_obstore(monkeypatch, fetch, get=Flaky(obstore.get, times=99, match="k005", error=lambda: ValueError("odd")))
    taken = []
    with pytest.raises(ValueError, match="odd"):
        for item, _ in fetch_in_order(keys(20), same, store_of(20), **USUAL):
            taken.append(item)
    assert taken == keys(5)
    assert fetch_threads() == []


def test_an_error_of_the_items_propagates_and_leaves_no_thread():
    def items() -> Iterator[str]:
        yield from keys(3)
        raise LookupError("no more")

    with pytest.raises(LookupError):
        bodies(fetch_in_order(items(), same, store_of(3), **USUAL))
    assert fetch_threads() == []


def test_closed_early_it_leaves_no_thread():
    stream = fetch_in_order(keys(100), same, store_of(100), workers=4, max_bytes=10, retry=NO_WAIT)
    assert next(stream)[0] == "k000"
    assert fetch_threads() != []
    stream.close()
    assert fetch_threads() == []


def test_closed_early_it_stops_repeating(monkeypatch):
    """A consumer that leaves while the bucket is down must not wait for every retry of every request in flight."""
    closed = threading.Event()
    close = Room.close

    def close_and_tell(room: Room) -> None:
        close(room)
        closed.set()

    monkeypatch.setattr(Room, "close", close_and_tell)
    flaky = Flaky(obstore.get, times=10**9, match="k001")
    use_obstore(monkeypatch, fetch, get=flaky)
    failing = threading.Event()

    def sleep(seconds: float) -> None:
        failing.set()
        assert closed.wait(20)

    patient = Retry(attempts=50, limit=10**9, sleep=sleep)
    stream = fetch_in_order(keys(2), same, store_of(2), workers=2, max_bytes=10, retry=patient)
    next(stream)
    assert failing.wait(20)
    stream.close()
    assert flaky.calls["k001"] == 1
    assert fetch_threads() == []
