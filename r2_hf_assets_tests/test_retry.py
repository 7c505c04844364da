"""Retry: what is repeated, after which waits, and when it ends. A fake clock, so nothing sleeps."""

import email.utils
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from r2_hf_assets import activity
from r2_hf_assets.errors import RetriesExhausted
from r2_hf_assets.retry import STATUSES, Retry, TransientError, transient_status


@dataclass
class Clock:
    """A clock that only `sleep` advances."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def retry(self, jitter: float = 1.0, **options) -> Retry:
        return Retry(sleep=self.sleep, clock=lambda: self.now, jitter=lambda: jitter, **options)


class Transient(Exception):
    """A transient error."""


@dataclass
class Call:
    """Fails `times` times, then returns."""

    times: int
    error: type[Exception] = Transient
    attempts: int = 0

    def __call__(self) -> str:
        self.attempts += 1
        if self.attempts <= self.times:
            raise self.error(f"attempt {self.attempts}")
        return "done"


def classify(error: BaseException) -> TransientError | None:
    return TransientError("busy") if isinstance(error, Transient) else None


@pytest.mark.parametrize("times", [0, 1, 4])
def test_a_transient_error_is_retried_until_success(times):
    clock, call = Clock(), Call(times)
    assert clock.retry(attempts=5).call("it", call, classify) == "done"
    assert (call.attempts, len(clock.slept)) == (times + 1, times)


def test_exhausted_attempts_raise_an_error_with_call_and_reason():
    clock, call = Clock(), Call(99)
    with pytest.raises(RetriesExhausted) as caught:
        clock.retry(attempts=3).call("GET a/b", call, classify)
    assert (call.attempts, len(clock.slept)) == (3, 2)
    assert "GET a/b: busy" in str(caught.value) and "3 attempts" in str(caught.value)
    assert caught.value.transient and isinstance(caught.value.__cause__, Transient)


def test_a_permanent_error_is_raised_at_once_and_unchanged():
    clock, call = Clock(), Call(1, KeyError)
    with pytest.raises(KeyError):
        clock.retry().call("it", call, classify)
    assert (call.attempts, clock.slept) == (1, [])


def test_an_interrupt_is_not_retried():
    calls = []

    def interrupted() -> None:
        calls.append(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Clock().retry().call("it", interrupted, lambda error: TransientError("always transient"))
    assert len(calls) == 1


@pytest.mark.parametrize(("jitter", "share"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_waits_grow_up_to_the_cap_within_the_jitter_bounds(jitter, share):
    clock = Clock()
    clock.retry(jitter, attempts=7, base=1.0, cap=8.0).call("it", Call(6), classify)
    assert clock.slept == [share * wait for wait in (1, 2, 4, 8, 8, 8)]


def test_a_longer_requested_wait_replaces_the_backoff_even_past_the_cap():
    clock = Clock()
    clock.retry(attempts=2, base=1.0, cap=8.0).call("it", Call(1), lambda error: TransientError("busy", wait=90.0))
    assert clock.slept == [90.0]
    clock = Clock()
    clock.retry(attempts=2, base=4.0, cap=8.0).call("it", Call(1), lambda error: TransientError("busy", wait=0.1))
    assert clock.slept == [4.0]


def test_no_wait_exceeds_the_limit():
    clock, call = Clock(), Call(99)
    with pytest.raises(RetriesExhausted, match="after 4 attempts"):
        clock.retry(attempts=50, base=10.0, cap=10.0, limit=35.0).call("it", call, classify)
    assert clock.slept == [10.0, 10.0, 10.0]


def test_a_requested_wait_past_the_limit_is_not_started():
    clock = Clock()
    with pytest.raises(RetriesExhausted):
        clock.retry(limit=60.0).call("it", Call(1), lambda error: TransientError("busy", wait=3600.0))
    assert clock.slept == []


def test_every_retry_is_reported_with_its_numbers():
    lines: list[str] = []
    Clock().retry(attempts=3, base=2.0).call("GET a", Call(2), classify, lines.append)
    assert lines == ["GET a: busy, attempt 1 of 3, again in 2.0 s", "GET a: busy, attempt 2 of 3, again in 4.0 s"]


def test_the_error_of_a_single_attempt_has_the_reason_only():
    with pytest.raises(RetriesExhausted, match=r"^it: busy$"):
        Retry(attempts=1).call("it", Call(1), classify)


def test_the_time_limit_starts_with_the_first_failure():
    """One error at the end of a long upload does not exhaust its retries."""
    clock, call = Clock(), Call(2)

    def slow() -> str:
        clock.now += 7200.0
        return call()

    assert clock.retry(attempts=3, base=1.0, limit=10_000.0).call("it", slow, classify) == "done"


def classify_as(quota: float | None) -> Callable[[BaseException], TransientError]:
    """Classify as a used-up quota with a requested wait in seconds; None: as another transient error."""
    return lambda error: (
        TransientError("busy") if quota is None else TransientError("rate limited", wait=quota, quota=True)
    )


def test_a_quota_wait_uses_up_neither_attempts_nor_time():
    clock, call = Clock(), Call(5)
    lines: list[str] = []
    done = clock.retry(attempts=2, limit=60.0).call("commit", call, classify_as(3600.0), lines.append)
    assert done == "done" and clock.slept == [3600.0] * 5
    assert lines == ["commit: rate limited, waiting for the quota, again in 3600.0 s"] * 5


@pytest.mark.parametrize(("quota", "waits"), [(3600.0, [3600.0] * 2), (None, [])])
def test_quota_waits_are_reported_and_others_are_not(quota: float | None, waits: list[float]) -> None:
    clock, call, seen = Clock(), Call(2), list[float]()
    assert clock.retry(on_quota=seen.append).call("commit", call, classify_as(quota)) == "done"
    assert seen == waits and len(clock.slept) == 2


def test_quota_waits_between_attempts_do_not_change_the_backoff():
    clock, kinds = Clock(), iter([None, 3600.0, 3600.0, None, None])
    with pytest.raises(RetriesExhausted, match="busy, still failing after 3 attempts"):
        clock.retry(attempts=3, base=1.0, limit=60.0).call(
            "it", Call(99), lambda error: classify_as(next(kinds))(error)
        )
    assert clock.slept == [1.0, 3600.0, 3600.0, 2.0]


def test_a_quota_without_a_requested_wait_backs_off():
    clock = Clock()
    assert clock.retry(attempts=2, base=1.0, cap=8.0, limit=1.0).call("it", Call(400), classify_as(0.0)) == "done"
    assert clock.slept == [1.0, 2.0, 4.0, *[8.0] * 397]


def test_quota_waits_have_a_limit_of_their_own():
    clock = Clock()
    with pytest.raises(
        RetriesExhausted, match=r"rate limited, still failing after 24\.0 h of waiting, and the next wait is 1\.0 h"
    ):
        clock.retry().call("it", Call(99), classify_as(3600.0))
    assert clock.slept == [3600.0] * 24


def test_attempts_and_waits_count_as_progress(monkeypatch):
    progress = activity.ProgressClock()
    monkeypatch.setattr(activity, "PROCESS", progress)
    progress.at = 0.0
    idle: list[float] = []

    def call() -> str:
        idle.append(progress.idle())
        if len(idle) == 1:
            raise Transient
        return "done"

    clock = Clock()
    retry = replace(clock.retry(), sleep=lambda seconds: idle.append(progress.idle()))
    assert retry.call("it", call, lambda error: TransientError("busy", wait=500.0)) == "done"
    assert idle[0] < 60 and idle[1] < -400, "a requested wait is no idle time"


@pytest.mark.parametrize("status", [408, 409, 412, 425, 429, 500, 502, 503, 504])
def test_a_transient_status_has_a_reason(status):
    failure = transient_status(status, {})
    assert failure is not None and failure.wait == 0.0
    assert failure.reason == f"{STATUSES[status]} (HTTP {status})"


@pytest.mark.parametrize("status", [200, 301, 400, 401, 402, 403, 404, 405, 410, 413, 416, 422, 501, 505])
def test_other_statuses_are_permanent(status):
    assert transient_status(status, {"Retry-After": "5"}) is None


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, 0.0),
        ({"Retry-After": "17"}, 17.0),
        ({"retry-after": " 2.5 "}, 2.5),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": email.utils.formatdate(NOW + 42, usegmt=True)}, 42.0),
        ({"Retry-After": email.utils.formatdate(NOW - 42, usegmt=True)}, 0.0),
        ({"Retry-After": email.utils.formatdate(NOW + 42)}, 42.0),
        ({"Retry-After": "soon"}, 0.0),
        ({"Retry-After": "Wed, 25 Nov 99999999999999999999999 15:00:10 GMT"}, 0.0),
        ({"Retry-After": "-3"}, 0.0),
        ({"RateLimit": '"api";r=0;t=55'}, 55.0),
        ({"ratelimit": '"resolvers";r=12;t=55'}, 0.0),
        ({"RateLimit": "nonsense"}, 0.0),
        ({"Retry-After": "3", "RateLimit": '"api";r=0;t=55'}, 3.0),
    ],
)
def test_the_requested_wait_is_read_from_the_headers(headers, wait):
    failure = transient_status(429, headers, now=lambda: NOW)
    assert failure is not None and failure.wait == wait
