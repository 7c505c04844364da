"""The one place where calls are repeated.

A caller brings a `classify` function that says of an exception why it may pass (a Trouble) or that it will not (None);
the statuses that may pass stand in STATUSES with a reason each, and transport errors are the caller's to name,
because each client has its own. Waits grow exponentially with full jitter, and a server's Retry-After is honoured.
Clock, sleep and randomness are passed in, so tests wait for nothing. Tries and waits count as progress (activity.py).

Where a server has a quota, its refusal is no failed try: it says when to come again. A wait for a quota uses up neither
the tries nor their time, and has a limit of its own.

Only repeatable calls belong here: what a repeated call could break is said where `call` is called.
"""

import email.utils
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar

from r2_hf_assets import activity
from r2_hf_assets.errors import GaveUp

T = TypeVar("T")

STATUSES: Mapping[int, str] = {
    408: "request timed out",
    409: "conflict with another writer",
    412: "the repo moved on meanwhile",
    425: "too early",
    429: "rate limited",
    500: "server error",
    502: "bad gateway",
    503: "service unavailable",
    504: "gateway timed out",
}


@dataclass(frozen=True)
class Trouble:
    """Trouble that may pass: why, how long the server asks to wait, in seconds, and whether it is a quota's end."""

    reason: str
    wait: float = 0.0
    quota: bool = False


@dataclass(frozen=True)
class Retry:
    """How often and how long to try. The first wait is up to `base` seconds, the longest `cap`, all tries end `limit`
    seconds after the first one that failed: a long upload is not yet trouble. As it stands: two minutes.

    Attributes:
        silence: seconds without a byte that end a try; None: the client's own.
        quota_limit: how long to wait for a quota in all. A day: quotas are by the hour, so a longer one is no quota.
    """

    attempts: int = 12
    base: float = 0.25
    cap: float = 30.0
    limit: float = 600.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    jitter: Callable[[], float] = field(default=random.random, repr=False)
    silence: float | None = None
    quota_limit: float = 24 * 3600.0

    def call(
        self,
        what: str,
        function: Callable[[], T],
        classify: Callable[[BaseException], Trouble | None],
        on_retry: Callable[[str], None] | None = None,
    ) -> T:
        """Call `function` until it returns, its error will not pass, or tries or time run out.

        Args:
            on_retry: told of each wait in a line.

        Raises:
            GaveUp: the trouble outlasted the tries; names `what` and the last reason.
            Exception: whatever `function` raised, when `classify` gives None for it.
        """
        tries = Tries(self, what)
        while True:
            activity.advance()
            try:
                return function()
            except Exception as error:
                trouble = classify(error)
                if trouble is None:
                    raise
                wait = tries.wait_after(trouble, error)
                if on_retry:
                    count = "waiting for the quota" if trouble.quota else f"try {tries.made} of {self.attempts}"
                    on_retry(f"{what}: {trouble.reason}, {count}, again in {wait:.1f} s")
                self.sleep(wait)


class Tries:
    """The tries of one call, counted; for who can't sleep in between, as a loop that has other calls to look after."""

    def __init__(self, retry: Retry, what: str) -> None:
        self.made = 0
        self._retry = retry
        self._what = what
        self._end: float | None = None
        self._refused = 0  # times that a quota was at its end
        self._waited = 0.0  # seconds, for a quota

    def extend(self, seconds: float) -> None:
        """Leave time out of the account in which nothing was tried: it was the caller who held the call up."""
        if self._end is not None:
            self._end += seconds

    def wait_after(self, trouble: Trouble, error: BaseException | None = None) -> float:
        """A try met trouble: seconds to wait before the next. Raises GaveUp (caused by `error`) if there is none."""
        wait = self._wait_for_quota(trouble, error) if trouble.quota else self._wait_to_try(trouble, error)
        activity.advance(wait)
        return wait

    def _wait_to_try(self, trouble: Trouble, error: BaseException | None) -> float:
        now = self._retry.clock()
        if self._end is None:
            self._end = now + self._retry.limit
        self.made += 1
        wait = self._wait(trouble, self.made)
        if self.made >= self._retry.attempts or now + wait > self._end:
            raise self._gave_up(trouble, f"after {self.made} tries") from error
        return wait

    def _wait_for_quota(self, trouble: Trouble, error: BaseException | None) -> float:
        self._refused += 1
        wait = self._wait(trouble, self._refused)
        if self._waited + wait > self._retry.quota_limit:
            waited = f"after {self._waited / 3600:.1f} h of waiting"
            raise self._gave_up(trouble, f"{waited}, and the next wait is {wait / 3600:.1f} h") from error
        self._waited += wait
        if self._end is not None:
            self._end += wait
        return wait

    def _wait(self, trouble: Trouble, number: int) -> float:
        retry = self._retry
        # No higher power: a day of short waits is thousands of them, and a float ends at 2**1023.
        backoff = min(retry.cap, retry.base * 2 ** min(number - 1, 64))
        return max(trouble.wait, backoff * (0.5 + retry.jitter() / 2))

    def _gave_up(self, trouble: Trouble, when: str) -> GaveUp:
        again = f", still so {when}; a later run will try again" if self._retry.attempts > 1 else ""
        return GaveUp(f"{self._what}: {trouble.reason}{again}")


DEFAULT = Retry()


def default_retry() -> Retry:
    """The patience of calls that were given none, looked up late: tests shorten DEFAULT."""
    return DEFAULT


def status_trouble(status: int, headers: Mapping[str, str], now: Callable[[], float] = time.time) -> Trouble | None:
    """Trouble for an HTTP status, with the wait its headers ask for; None if it will not pass."""
    reason = STATUSES.get(status)
    if reason is None:
        return None
    return Trouble(f"{reason} (HTTP {status})", _asked_wait({k.lower(): v for k, v in headers.items()}, now))


def _asked_wait(headers: Mapping[str, str], now: Callable[[], float]) -> float:
    """Seconds to wait. Retry-After is seconds or a date (RFC 9110); RateLimit carries `t=` seconds (the Hub's form)."""
    after = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", after):
        return float(after)
    if after:
        then = parse_http_date(after)
        return max(0.0, then.timestamp() - now()) if then else 0.0
    limit = headers.get("ratelimit", "")
    left = re.search(r"\br=(\d+)", limit)
    reset = re.search(r"\bt=(\d+)", limit)
    if reset and left and left.group(1) == "0":
        return float(reset.group(1))
    return 0.0


@lru_cache(maxsize=64)  # the answers of one second share theirs
def parse_http_date(date: str) -> datetime | None:
    """The time in a Date or Retry-After header, e.g. "Wed, 25 Nov 2026 15:00:00 GMT"; None when it is no date."""
    try:
        found = email.utils.parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
