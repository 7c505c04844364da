"""The byte bound of fetch_in_order, seen where bodies come in and where they are taken."""

import random
from typing import Any

import pytest

from r2_hf_assets.bucket import fetch
from r2_hf_assets.bucket.fetch import fetch_in_order
from r2_hf_assets.bucket.response import Fetched
from r2_hf_assets.bucket.transfers import Transfers
from r2_hf_assets_tests.support.build_samples import NO_WAIT, fetch_threads
from r2_hf_assets_tests.support.objects_server import ObjectsServer, wait_for


class Counting:
    """Counts the bytes that have come in and were not yet taken. Object 12 is called "12"."""

    def __init__(self, sizes: list[int], first_waits_for: int = 0) -> None:
        self.sizes = sizes
        self.held = self.peak = 0
        self.arrived: list[str] = []
        self._first_waits_for = first_waits_for
        self.server = ObjectsServer({str(index): bytes(size) for index, size in enumerate(sizes)}, self._hold_back)

    def _hold_back(self, key: str, count: int) -> None:
        if key == "0":
            wait_for(lambda: self.server.requests.total() >= self._first_waits_for)

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = Transfers._receive

        def arrived(transfers: Transfers, transfer: Any, attempt: Any, piece: bytes) -> int | None:
            answer = real(transfers, transfer, attempt, piece)
            if answer is None:
                self.arrived.append(transfer.url)
                self.held += len(piece)
                self.peak = max(self.peak, self.held)
            return answer

        monkeypatch.setattr(Transfers, "_receive", arrived)


def stream(counting: Counting, monkeypatch: pytest.MonkeyPatch, **options: int) -> list[int]:
    """Takes everything; returns the indexes in the order they came."""
    counting.watch(monkeypatch)
    order = []
    indexes = range(len(counting.sizes))
    with counting.server as server:
        for index, found in fetch_in_order(indexes, str, server.bucket(), limit=2**31, retry=NO_WAIT, **options):
            assert isinstance(found, Fetched) and found.size == counting.sizes[index]
            counting.held -= found.size
            order.append(index)
    return order


def test_a_slow_head_holds_back_the_bodies_behind_it(monkeypatch):
    """8 workers: without a bound the bodies of a whole window would arrive while the first is waited for."""
    counting = Counting([40] * 60, first_waits_for=10)
    assert stream(counting, monkeypatch, workers=8, max_bytes=100) == list(range(60))
    # Two of 40 have room in 100; the head comes in besides.
    assert not counting.arrived[0].endswith("/0")
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
    counting = Counting([10, 10, 500_000, 10, 10])
    assert stream(counting, monkeypatch, workers=4, max_bytes=100) == [0, 1, 2, 3, 4]
    assert 500_000 <= counting.peak <= 500_000 + 100


def test_nothing_but_objects_larger_than_the_bound(monkeypatch):
    counting = Counting([300_000] * 30)
    assert stream(counting, monkeypatch, workers=8, max_bytes=100) == list(range(30))
    assert counting.peak <= 2 * 300_000


def test_one_worker_and_a_window_of_one_never_stall(monkeypatch):
    counting = Counting([300, 0, 50] * 10)
    monkeypatch.setattr(fetch, "_WINDOW", 1)
    assert stream(counting, monkeypatch, workers=1, max_bytes=100) == list(range(30))
    assert counting.peak <= 300
