"""Background threads: results and errors are returned, and unfinished work delays nothing."""

import threading
from collections.abc import Iterator

import pytest

from r2_hf_assets.background import Background, in_background, map_in_order


def test_results_and_errors_are_returned() -> None:
    pool = Background(2, "test")
    squares = [pool.submit(pow, number, 2) for number in range(20)]
    failed = pool.submit(int, "x")
    assert [future.result() for future in squares] == [number**2 for number in range(20)]
    with pytest.raises(ValueError, match="invalid literal"):
        failed.result()
    pool.close()


def test_close_neither_waits_nor_starts_queued_work() -> None:
    started, released, ended = threading.Event(), threading.Event(), threading.Event()

    def block() -> None:
        started.set()
        released.wait(60)
        ended.set()

    pool = Background(1, "test")
    pool.submit(block)
    queued = pool.submit(released.is_set)
    assert started.wait(20)
    pool.close()
    assert not ended.is_set()
    released.set()
    assert ended.wait(20) and not queued.done()


def test_results_of_a_map_are_in_order_and_few_are_ahead() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            yield number

    results = map_in_order(lambda number: number**2, items(), 2, "test")
    assert [next(results), next(results)] == [0, 1]
    results.close()
    assert len(read) == 2 * 2 + 2
    assert list(map_in_order(str, [], 2, "test")) == []
    with pytest.raises(ValueError, match="invalid literal"):
        list(map_in_order(int, ["1", "x"], 2, "test"))


def test_in_background_uses_a_daemon_thread_and_raises_its_error() -> None:
    assert in_background(lambda: threading.current_thread().daemon)
    with pytest.raises(ValueError, match="invalid literal"):
        in_background(lambda: int("x"))
