"""Retries: the mechanism, and the numbers of every policy.

A caller passes a `classify` function that returns a Trouble for a transient error and None for any other. Transient
HTTP statuses are in STATUSES; transport errors are classified by the caller, because each client has its own. Backoff
is exponential, with jitter between half and all of a wait, and a server's Retry-After is honoured. Tries and waits
count as progress (activity.py). Only idempotent calls are retried.

A refusal because of a quota is no failed try. A wait for a quota uses up neither the tries nor their time, and has a
limit of its own.
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
    """A transient error: why, the seconds to wait that the response requests, and whether a quota is used up."""

    reason: str
    wait: float = 0.0
    quota: bool = False


@dataclass(frozen=True)
class Retry:
    """How often and how long to try. Times are in seconds.

    Attributes:
        base, cap: the first wait is at most `base`, and no wait longer than `cap`.
        limit: from the first try that failed to the end of the last wait. The first try may take any time.
        silence: time without a byte that ends a try; None: the client's own.
        quota_limit: waits for a quota in all. Quotas are by the hour: what lasts longer than a day is none.
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
        classify: Callable[[BaseException], TransientError | None],
        on_retry: Callable[[str], None] | None = None,
    ) -> T:
        """Call `function` until it returns, its error is not transient, or tries or time run out (RetriesExhausted).

        `on_retry` is called with a line for each wait.
        """
        tries = RetryState(self, what)
        while True:
            activity.advance()
            try:
                return function()
            except Exception as error:
                trouble = classify(error)
                if trouble is None:
                    raise
                wait = tries.next_wait(trouble, error)
                if on_retry:
                    count = "waiting for the quota" if trouble.quota else f"try {tries.made} of {self.attempts}"
                    on_retry(f"{what}: {trouble.reason}, {count}, again in {wait:.1f} s")
                self.sleep(wait)


class RetryState:
    """The tries of one call, counted; for a loop that serves other calls during a wait, and so can't sleep."""

    def __init__(self, retry: Retry, what: str) -> None:
        self.made = 0
        self._retry, self._what = retry, what
        self._end = math.inf  # of the time for tries
        self._refused = 0  # tries refused because of a quota
        self._waited = 0.0  # seconds, for a quota

    def extend(self, seconds: float) -> None:
        """Add time to the limit in which the caller held the call up."""
        self._end += seconds

    def next_wait(self, trouble: TransientError, error: BaseException | None = None) -> float:
        """Seconds to wait after a failed try. Raises RetriesExhausted (caused by `error`) if there is no next one."""
        retry, now = self._retry, self._retry.clock()
        if trouble.quota:
            self._refused += 1
        else:
            self.made += 1
            if self.made == 1:
                self._end = now + retry.limit
        # The exponent is bounded: a day of short waits is thousands of them, and a float ends at 2**1023.
        number = min(self._refused if trouble.quota else self.made, 64)
        backoff = min(retry.cap, retry.base * 2.0 ** (number - 1))
        wait = max(trouble.wait, backoff * (0.5 + retry.jitter() / 2))
        if trouble.quota:
            over = self._waited + wait > retry.quota_limit
            when = f"{self._waited / 3600:.1f} h of waiting, and the next wait is {wait / 3600:.1f} h"
            self._waited += wait
            self.extend(wait)
        else:
            over, when = self.made >= retry.attempts or now + wait > self._end, f"{self.made} tries"
        if over:
            again = f", still so after {when}; a later run will try again" if retry.attempts > 1 else ""
            raise RetriesExhausted(f"{self._what}: {trouble.reason}{again}") from error
        activity.advance(wait)
        return wait


# Calls without a policy of their own: waits of about two minutes in all.
DEFAULT = Retry()
# preflight: a person waits for what is found now.
ONCE = Retry(attempts=1)
# The first request of a scan: a user who mistyped the endpoint should not wait long.
FIRST_REQUEST = Retry(attempts=3, limit=60.0, silence=10.0)
# Inside obstore: it repeats a request soon, and Retry around it outlasts longer outages.
OBSTORE_RETRIES: "RetryConfig" = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}
# A sensor's tick ends after 60 s, and the next one tries again.
SENSOR_RETRY = Retry(attempts=3, base=0.5, cap=2.0, limit=8.0, silence=10.0)
# A commit on top of a head that moved is refused, so N committers need up to N tries each; the rest is for outages.
COMMIT_RETRY = Retry(attempts=30, base=0.25, cap=60.0, limit=3600.0)
# A card waits longer than a chunk's commit takes, and tries a third as often: chunks go first. A card that is not
# committed within ten minutes is due again later.
CARD_RETRY = Retry(attempts=10, base=2.0, cap=60.0, limit=600.0)
# Building a chunk once more when its upload breaks off: hf_xet retries for minutes by itself, its errors do not tell a
# refusal from an outage, and a later run is as good as a third try.
STREAM_RETRY = Retry(attempts=2, base=5.0, limit=3600.0)
# Runs of a chunk that planned_chunks requests: again 2, 8, 32 and 128 minutes after a failure, almost three hours in
# all. (A run whose process died is retried by Dagster: run_retries in dagster.yaml.)
RUN_ATTEMPTS, RUN_FIRST_WAIT_S, RUN_WAIT_FACTOR = 5, 120.0, 4


def default_retry() -> Retry:
    return DEFAULT  # read at each call: tests shorten it


def transient_status(
    status: int, headers: Mapping[str, str], now: Callable[[], float] = time.time
) -> TransientError | None:
    """The Trouble of a transient HTTP status, with the wait that its headers request; None for any other."""
    if status not in STATUSES:
        return None
    wait = _requested_wait({name.lower(): value for name, value in headers.items()}, now)
    return TransientError(f"{STATUSES[status]} (HTTP {status})", wait)


def _requested_wait(headers: Mapping[str, str], now: Callable[[], float]) -> float:
    """Seconds to wait. Retry-After is seconds or a date (RFC 9110); RateLimit carries `t=` seconds (the Hub's form)."""
    after = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", after):
        return float(after)
    if after:
        then = parse_http_date(after)
        return max(0.0, then.timestamp() - now()) if then else 0.0
    reset = re.search(r"\br=0\b.*\bt=(\d+)", headers.get("ratelimit", ""))
    return float(reset[1]) if reset else 0.0


@lru_cache(maxsize=64)  # the responses of one second share theirs
def parse_http_date(date: str) -> datetime | None:
    """The time in a Date or Retry-After header, e.g. "Wed, 25 Nov 2026 15:00:00 GMT"; None when it is no date."""
    try:
        found = email.utils.parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
