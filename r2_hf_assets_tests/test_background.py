"""Background threads: results and errors come back, and nobody waits for what is left undone."""

import threading

import pytest

from r2_hf_assets.background import Background, in_background


def test_results_and_errors_come_back() -> None:
    pool = Background(2, "test")
    squares = [pool.submit(pow, number, 2) for number in range(20)]
    failed = pool.submit(int, "x")
    assert [future.result() for future in squares] == [number**2 for number in range(20)]
    with pytest.raises(ValueError, match="invalid literal"):
        failed.result()
    pool.close()


def test_closing_waits_for_nothing_and_begins_nothing() -> None:
    begun, over, ended = threading.Event(), threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        over.wait(60)
        ended.set()

    pool = Background(1, "test")
    pool.submit(block)
    queued = pool.submit(over.is_set)
    assert begun.wait(20)
    pool.close()
    assert not ended.is_set()
    over.set()
    assert ended.wait(20) and not queued.done()


def test_the_thread_is_a_daemon_and_its_error_is_the_callers() -> None:
    assert in_background(lambda: threading.current_thread().daemon)
    with pytest.raises(ValueError, match="invalid literal"):
        in_background(lambda: int("x"))
