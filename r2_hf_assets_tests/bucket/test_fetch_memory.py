"""The byte budget of fetch_in_order, measured where bodies arrive and where they are taken."""

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
    """Counts the bytes that have arrived and were not yet taken. The key of object 12 is "12"."""

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

        def receive(transfers: Transfers, transfer: Any, attempt: Any, piece: bytes) -> int | None:
            result = real(transfers, transfer, attempt, piece)
            if result is None:
                self.arrived.append(transfer.url)
                self.held += len(piece)
                self.peak = max(self.peak, self.held)
            return result

        monkeypatch.setattr(Transfers, "_receive", receive)


def stream(counting: Counting, monkeypatch: pytest.MonkeyPatch, **options: int) -> list[int]:
    """Take every object; return the indexes in the order of the results."""
    counting.watch(monkeypatch)
    order = []
    indexes = range(len(counting.sizes))
    with counting.server as server:
        for index, fetched in fetch_in_order(indexes, str, server.bucket(), limit=2**31, retry=NO_WAIT, **options):
            assert isinstance(fetched, Fetched) and fetched.size == counting.sizes[index]
            counting.held -= fetched.size
            order.append(index)
    return order


def test_a_slow_first_object_pauses_the_bodies_behind_it(monkeypatch):
    """Without a budget, 8 workers would receive a whole window meanwhile."""
    counting = Counting([40] * 60, first_waits_for=10)
    assert stream(counting, monkeypatch, workers=8, max_bytes=100) == list(range(60))
    # Two bodies of 40 bytes fit in 100, besides the first object.
    assert not counting.arrived[0].endswith("/0")
    assert 80 <= counting.peak <= 100 + 40


@pytest.mark.parametrize("seed", range(5))
def test_bytes_never_exceed_the_budget_and_one_object(monkeypatch, seed):
    draw = random.Random(seed)
    sizes = [draw.choice([0, 1, 10, 60, 99, 100, 250]) for _ in range(200)]
    counting = Counting(sizes)
    assert stream(counting, monkeypatch, workers=8, max_bytes=100) == list(range(200))
    assert counting.peak <= 100 + 250
    assert counting.held == 0
    assert fetch_threads() == []


def test_an_object_larger_than_the_budget_passes(monkeypatch):
    counting = Counting([10, 10, 500_000, 10, 10])
    assert stream(counting, monkeypatch, workers=4, max_bytes=100) == [0, 1, 2, 3, 4]
    assert 500_000 <= counting.peak <= 500_000 + 100


def test_only_objects_larger_than_the_budget_pass_one_by_one(monkeypatch):
    counting = Counting([300_000] * 30)
    assert stream(counting, monkeypatch, workers=8, max_bytes=100) == list(range(30))
    assert counting.peak <= 2 * 300_000


def test_one_worker_and_a_window_of_one_never_stall(monkeypatch):
    counting = Counting([300, 0, 50] * 10)
    monkeypatch.setattr(fetch, "_WINDOW", 1)
    assert stream(counting, monkeypatch, workers=1, max_bytes=100) == list(range(30))
    assert counting.peak <= 300
