"""The byte bound of fetch_in_order, seen by a fake that counts the bodies that have arrived and were not yet taken."""

import random
import threading
from types import SimpleNamespace

import pytest

from r2_hf_assets.bucket import fetch
from r2_hf_assets.bucket.fetch import fetch_in_order
from r2_hf_assets_tests.build_samples import NO_WAIT, fetch_threads, use_obstore


class Counting:
    """Answers GETs with bodies of known sizes and counts what is held. Key "12" is object 12."""

    def __init__(self, sizes: list[int], first_waits_for: int = 0) -> None:
        self.sizes = sizes
        self.held = self.peak = self.asked = 0
        self.arrived: list[int] = []
        self._first_waits_for = first_waits_for
        self._changed = threading.Condition()

    def get(self, store: object, key: str) -> SimpleNamespace:
        index = int(key)
        with self._changed:
            self.asked += 1
            self._changed.notify_all()
            if index == 0:
                self._changed.wait_for(lambda: self.asked >= self._first_waits_for, 20)
        size = self.sizes[index]
        return SimpleNamespace(meta={"size": size, "last_modified": None}, bytes=lambda: self._arrive(index, size))

    def _arrive(self, index: int, size: int) -> bytes:
        with self._changed:
            self.arrived.append(index)
            self.held += size
            self.peak = max(self.peak, self.held)
        return bytes(size)

    def take(self, size: int) -> None:
        with self._changed:
            self.held -= size


def stream(counting: Counting, monkeypatch: pytest.MonkeyPatch, **options: int) -> list[int]:
    """Takes everything; returns the indexes in the order they came."""
    use_obstore(monkeypatch, fetch, get=counting.get)
    order = []
    indexes = range(len(counting.sizes))
    for index, found in fetch_in_order(indexes, str, None, retry=NO_WAIT, **options):
        assert found is not None and found.size == counting.sizes[index]
        counting.take(found.size)
        order.append(index)
    return order


def test_a_slow_head_holds_back_the_bodies_behind_it(monkeypatch):
    """8 workers, window 16: without a bound 15 bodies of 40 bytes would arrive while the first is waited for."""
    counting = Counting([40] * 60, first_waits_for=10)
    assert stream(counting, monkeypatch, workers=8, max_bytes=100) == list(range(60))
    # Two of 40 have room in 100; the head comes in besides.
    assert counting.arrived[0] != 0
    assert 80 <= counting.peak <= 100 + 40


@pytest.mark.parametrize("seed", range(5))
def test_never_more_than_the_bound_and_one_object_besides(monkeypatch, seed):
    draw = random.Random(seed)
    sizes = [draw.choice([0, 1, 10, 60, 99, 100, 250]) for _ in range(200)]
    counting = Counting(sizes)
    assert stream(counting, monkeypatch, workers=8, max_bytes=100) == list(range(200))
    assert counting.peak <= 100 + 250
    assert counting.held == 0
    assert fetch_threads() == []


def test_an_object_larger_than_the_bound_passes(monkeypatch):
    counting = Counting([10, 10, 5000, 10, 10])
    assert stream(counting, monkeypatch, workers=4, max_bytes=100) == [0, 1, 2, 3, 4]
    assert 5000 <= counting.peak <= 5000 + 100


def test_nothing_but_objects_larger_than_the_bound(monkeypatch):
    counting = Counting([300] * 30)
    assert stream(counting, monkeypatch, workers=8, max_bytes=100) == list(range(30))
    assert counting.peak <= 2 * 300


def test_one_worker_and_a_window_of_one_never_stall(monkeypatch):
    counting = Counting([300, 0, 50] * 10)
    assert stream(counting, monkeypatch, workers=1, max_bytes=100, window=1) == list(range(30))
    assert counting.peak <= 300
