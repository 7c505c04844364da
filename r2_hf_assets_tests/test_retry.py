"""Retry: what is repeated, how long it waits, and when it gives up. A fake clock, so nothing waits."""

import email.utils
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from r2_hf_assets import activity
from r2_hf_assets.errors import RetriesExhausted
from r2_hf_assets.retry import STATUSES, Retry, TransientError, transient_status


@dataclass
class Clock:
    """Time that passes only when someone sleeps."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def retry(self, jitter: float = 1.0, **options) -> Retry:
        return Retry(sleep=self.sleep, clock=lambda: self.now, jitter=lambda: jitter, **options)


class Passing(Exception):
    """Trouble that may pass."""


@dataclass
class Call:
    """Fails `times` times, then returns."""

    times: int
    error: type[Exception] = Passing
    tries: int = 0

    def __call__(self) -> str:
        self.tries += 1
        if self.tries <= self.times:
            raise self.error(f"try {self.tries}")
        return "done"


def classify(error: BaseException) -> TransientError | None:
    return TransientError("busy") if isinstance(error, Passing) else None


@pytest.mark.parametrize("times", [0, 1, 4])
def test_repeats_until_it_works(times):
    clock, call = Clock(), Call(times)
    assert clock.retry(attempts=5).call("it", call, classify) == "done"
    assert (call.tries, len(clock.slept)) == (times + 1, times)


def test_gives_up_after_its_tries_and_says_what_and_why():
    clock, call = Clock(), Call(99)
    with pytest.raises(RetriesExhausted) as caught:
        clock.retry(attempts=3).call("GET a/b", call, classify)
    assert (call.tries, len(clock.slept)) == (3, 2)
    assert "GET a/b: busy" in str(caught.value) and "3 tries" in str(caught.value)
    assert caught.value.transient and isinstance(caught.value.__cause__, Passing)


def test_what_will_not_pass_is_raised_at_once_and_as_it_is():
    clock, call = Clock(), Call(1, KeyError)
    with pytest.raises(KeyError):
        clock.retry().call("it", call, classify)
    assert (call.tries, clock.slept) == (1, [])


def test_an_interrupt_is_never_repeated():
    calls = []

    def interrupted() -> None:
        calls.append(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Clock().retry().call("it", interrupted, lambda error: TransientError("all of it passes"))
    assert len(calls) == 1


@pytest.mark.parametrize(("jitter", "share"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_waits_grow_up_to_the_cap_within_the_jitter_bounds(jitter, share):
    clock = Clock()
    clock.retry(jitter, attempts=7, base=1.0, cap=8.0).call("it", Call(6), classify)
    assert clock.slept == [share * wait for wait in (1, 2, 4, 8, 8, 8)]


def test_the_servers_wait_wins_over_a_shorter_one_even_past_the_cap():
    clock = Clock()
    clock.retry(attempts=2, base=1.0, cap=8.0).call("it", Call(1), lambda error: TransientError("busy", wait=90.0))
    assert clock.slept == [90.0]
    clock = Clock()
    clock.retry(attempts=2, base=4.0, cap=8.0).call("it", Call(1), lambda error: TransientError("busy", wait=0.1))
    assert clock.slept == [4.0]


def test_never_waits_past_the_limit():
    clock, call = Clock(), Call(99)
    with pytest.raises(RetriesExhausted, match="after 4 tries"):
        clock.retry(attempts=50, base=10.0, cap=10.0, limit=35.0).call("it", call, classify)
    assert clock.slept == [10.0, 10.0, 10.0]


def test_does_not_even_begin_a_wait_that_is_longer_than_the_limit():
    clock = Clock()
    with pytest.raises(RetriesExhausted):
        clock.retry(limit=60.0).call("it", Call(1), lambda error: TransientError("busy", wait=3600.0))
    assert clock.slept == []


def test_tells_of_every_repeat_with_its_numbers():
    said: list[str] = []
    Clock().retry(attempts=3, base=2.0).call("GET a", Call(2), classify, said.append)
    assert said == ["GET a: busy, try 1 of 3, again in 2.0 s", "GET a: busy, try 2 of 3, again in 4.0 s"]


def test_who_has_one_try_is_told_the_reason_alone():
    with pytest.raises(RetriesExhausted, match=r"^it: busy$"):
        Retry(attempts=1).call("it", Call(1), classify)


def test_the_time_for_tries_begins_with_the_first_that_fails():
    """A long upload is not yet trouble, and one error at its end does not end it."""
    clock, call = Clock(), Call(2)

    def slow() -> str:
        clock.now += 7200.0
        return call()

    assert clock.retry(attempts=3, base=1.0, limit=10_000.0).call("it", slow, classify) == "done"


def busy(quota: float | None) -> Callable[[BaseException], TransientError]:
    """The end of a quota, that comes again after so many seconds; other trouble for None."""
    return lambda error: (
        TransientError("busy") if quota is None else TransientError("rate limited", wait=quota, quota=True)
    )


def test_a_quota_is_waited_for_and_uses_up_no_try_and_no_time():
    clock, call = Clock(), Call(5)
    said: list[str] = []
    done = clock.retry(attempts=2, limit=60.0).call("commit", call, busy(3600.0), said.append)
    assert done == "done" and clock.slept == [3600.0] * 5
    assert said == ["commit: rate limited, waiting for the quota, again in 3600.0 s"] * 5


def test_a_quota_between_tries_leaves_them_as_they_are():
    clock, kinds = Clock(), iter([None, 3600.0, 3600.0, None, None])
    with pytest.raises(RetriesExhausted, match="busy, still so after 3 tries"):
        clock.retry(attempts=3, base=1.0, limit=60.0).call("it", Call(99), lambda error: busy(next(kinds))(error))
    assert clock.slept == [1.0, 3600.0, 3600.0, 2.0]


def test_a_quota_that_names_no_time_is_asked_for_ever_more_seldom():
    clock = Clock()
    assert clock.retry(attempts=2, base=1.0, cap=8.0, limit=1.0).call("it", Call(400), busy(0.0)) == "done"
    assert clock.slept == [1.0, 2.0, 4.0, *[8.0] * 397]


def test_a_quota_has_a_limit_of_its_own():
    clock = Clock()
    with pytest.raises(
        RetriesExhausted, match=r"rate limited, still so after 24\.0 h of waiting, and the next wait is 1\.0 h"
    ):
        clock.retry().call("it", Call(99), busy(3600.0))
    assert clock.slept == [3600.0] * 24


def test_tries_and_waits_are_progress(monkeypatch):
    mark = activity.ProgressClock()
    monkeypatch.setattr(activity, "PROCESS", mark)
    mark.at = 0.0
    seen: list[float] = []

    def call() -> str:
        seen.append(mark.idle())
        if len(seen) == 1:
            raise Passing
        return "done"

    clock = Clock()
    retry = replace(clock.retry(), sleep=lambda seconds: seen.append(mark.idle()))
    assert retry.call("it", call, lambda error: TransientError("busy", wait=500.0)) == "done"
    assert seen[0] < 60 and seen[1] < -400, "a wait that was asked for is no idle time"


@pytest.mark.parametrize("status", [408, 409, 412, 425, 429, 500, 502, 503, 504])
def test_statuses_that_may_pass_carry_a_reason(status):
    trouble = transient_status(status, {})
    assert trouble is not None and trouble.wait == 0.0
    assert trouble.reason == f"{STATUSES[status]} (HTTP {status})"


@pytest.mark.parametrize("status", [200, 301, 400, 401, 402, 403, 404, 405, 410, 413, 416, 422, 501, 505])
def test_other_statuses_will_not_pass(status):
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
def test_the_wait_a_server_asks_for(headers, wait):
    trouble = transient_status(429, headers, now=lambda: NOW)
    assert trouble is not None and trouble.wait == wait
