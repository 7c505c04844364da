"""Retry of idempotent calls: the mechanism, and the numbers of every policy.

A `classify` function returns a TransientError for an error to retry, and None for any other. Transient HTTP statuses
are in STATUSES; transport errors are classified by the caller, because each client has its own. Backoff is exponential,
with jitter between half and all of a wait, and a longer Retry-After is honoured. Attempts and waits count as progress
(activity.py).

A wait for a quota uses up neither attempts nor their time, and has a limit of its own.
"""

import email.utils
import math
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from r2_hf_assets import activity
from r2_hf_assets.errors import RetriesExhausted

if TYPE_CHECKING:
    from obstore.store import RetryConfig

T = TypeVar("T")

STATUSES: Mapping[int, str] = {
    408: "request timed out",
    409: "conflict with another writer",
    412: "the repo changed meanwhile",
    425: "too early",
    429: "rate limited",
    500: "server error",
    502: "bad gateway",
    503: "service unavailable",
    504: "gateway timed out",
}


@dataclass(frozen=True)
class TransientError:
    """Why an attempt failed, the seconds to wait that the response requests, and whether a quota is used up."""

    reason: str
    wait: float = 0.0
    quota: bool = False


@dataclass(frozen=True)
class Retry:
    """How often and how long to try. Times are in seconds.

    Attributes:
        base, cap: limits of the first backoff and of every backoff.
        limit: from the first failure to the end of the last wait. The first attempt may take any time.
        silence: time without a byte that ends an attempt; None: the client's own.
        quota_limit: waits for a quota in all. Quotas are hourly: an error that lasts longer than a day is none.
        on_quota: called with the seconds of each wait for a quota, before it.
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
    on_quota: Callable[[float], None] | None = field(default=None, repr=False)

    def call(
        self,
        what: str,
        function: Callable[[], T],
        classify: Callable[[BaseException], TransientError | None],
        on_retry: Callable[[str], None] | None = None,
    ) -> T:
        """Call `function` until it returns. `on_retry` is called with a line for each wait.

        Raises:
            RetriesExhausted: attempts or time are used up. An error that is not transient is raised as it is.
        """
        state = RetryState(self, what)
        while True:
            activity.advance()
            try:
                return function()
            except Exception as error:
                failure = classify(error)
                if failure is None:
                    raise
                wait = state.next_wait(failure, error)
                if on_retry:
                    count = "waiting for the quota" if failure.quota else f"attempt {state.failed} of {self.attempts}"
                    on_retry(f"{what}: {failure.reason}, {count}, again in {wait:.1f} s")
                if self.on_quota and failure.quota:
                    self.on_quota(wait)
                self.sleep(wait)

    def backoff(self, failures: int) -> float:
        """Return the seconds to wait after so many failures."""
        # The exponent is bounded: a day of short waits is thousands of them, and a float ends at 2**1023.
        longest = min(self.cap, self.base * 2.0 ** (min(failures, 64) - 1))
        return longest * (0.5 + self.jitter() / 2)


class RetryState:
    """The failed attempts of one call, for a loop that serves other calls during a wait and so can't sleep."""

    def __init__(self, retry: Retry, what: str) -> None:
        self.failed = 0
        self._retry, self._what = retry, what
        self._deadline = math.inf  # of attempts, from the first failure on
        self._quota_waits, self._quota_seconds = 0, 0.0

    def extend(self, seconds: float) -> None:
        """Move the deadline by the time in which the caller paused the call."""
        self._deadline += seconds

    def next_wait(self, failure: TransientError, error: BaseException | None = None) -> float:
        """Return the seconds until the next attempt. Raises RetriesExhausted (caused by `error`) if there is none."""
        retry, now = self._retry, self._retry.clock()
        if failure.quota:
            self._quota_waits += 1
            wait = max(failure.wait, retry.backoff(self._quota_waits))
            exhausted = self._quota_seconds + wait > retry.quota_limit
            spent = f"{self._quota_seconds / 3600:.1f} h of waiting, and the next wait is {wait / 3600:.1f} h"
            self._quota_seconds += wait
            self._deadline += wait
        else:
            self.failed += 1
            if self.failed == 1:
                self._deadline = now + retry.limit
            wait = max(failure.wait, retry.backoff(self.failed))
            exhausted = self.failed >= retry.attempts or now + wait > self._deadline
            spent = f"{self.failed} attempts"
        if exhausted:
            again = f", still failing after {spent}; a later run will try again" if retry.attempts > 1 else ""
            raise RetriesExhausted(f"{self._what}: {failure.reason}{again}") from error
        activity.advance(wait)
        return wait


# Calls without a policy of their own: about two minutes of waits.
DEFAULT = Retry()
# preflight: a user waits for its result.
ONCE = Retry(attempts=1)
# The first request of a scan: a mistyped endpoint is reported soon.
FIRST_REQUEST = Retry(attempts=3, limit=60.0, silence=10.0)
# Inside obstore, for short outages; Retry around it is for longer ones.
OBSTORE_RETRIES: "RetryConfig" = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}
# A sensor's tick ends after 60 s, and the next tick repeats it.
SENSOR_RETRY = Retry(attempts=3, base=0.5, cap=2.0, limit=8.0, silence=10.0)
# A commit on a stale parent is rejected, so N committers need up to N attempts each; the rest is for outages.
COMMIT_RETRY = Retry(attempts=30, base=0.25, cap=60.0, limit=3600.0)
# Waits longer than a chunk's commit takes, so that chunks have precedence. A card that is not committed is due later.
CARD_RETRY = Retry(attempts=10, base=2.0, cap=60.0, limit=600.0)
# Builds a chunk again when its upload fails. hf_xet itself retries for minutes, and its errors do not distinguish a
# rejection from an outage, so a third attempt is left to a later run.
STREAM_RETRY = Retry(attempts=2, base=5.0, limit=3600.0)
# Runs of a chunk that planned_chunks requests: again 2, 8, 32 and 128 minutes after a failure. (Dagster retries a run
# whose process died: run_retries in dagster.yaml.)
RUN_ATTEMPTS, RUN_FIRST_WAIT_S, RUN_WAIT_FACTOR = 5, 120.0, 4


def default_retry() -> Retry:
    return DEFAULT  # read at each call: tests shorten it


def transient_status(
    status: int, headers: Mapping[str, str], now: Callable[[], float] = time.time
) -> TransientError | None:
    """Return a transient HTTP status as an error, with the wait that its headers request; None for any other."""
    if status not in STATUSES:
        return None
    wait = _requested_wait({name.lower(): value for name, value in headers.items()}, now)
    return TransientError(f"{STATUSES[status]} (HTTP {status})", wait)


def _requested_wait(headers: Mapping[str, str], now: Callable[[], float]) -> float:
    """Return seconds: Retry-After is seconds or a date (RFC 9110); the Hub's RateLimit carries `t=` seconds."""
    after = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", after):
        return float(after)
    if after:
        date = parse_http_date(after)
        return max(0.0, date.timestamp() - now()) if date else 0.0
    reset = re.search(r"\br=0\b.*\bt=(\d+)", headers.get("ratelimit", ""))
    return float(reset[1]) if reset else 0.0


@lru_cache(maxsize=64)  # responses of one second share a date
def parse_http_date(date: str) -> datetime | None:
    """Parse the date of a header, e.g. "Wed, 25 Nov 2026 15:00:00 GMT"; None when it is none."""
    try:
        parsed = email.utils.parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
