"""Background threads: results and errors are returned, and unfinished work delays nothing."""

import threading

import pytest

from r2_hf_assets.background import Background, in_background


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


def test_in_background_uses_a_daemon_thread_and_raises_its_error() -> None:
    assert in_background(lambda: threading.current_thread().daemon)
    with pytest.raises(ValueError, match="invalid literal"):
        in_background(lambda: int("x"))
