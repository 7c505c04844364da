"""Retries: the mechanism, and the numbers of every policy.

A caller passes a `classify` function that returns a Trouble for a transient error, with its reason, and None for any
other. Transient HTTP statuses are in STATUSES; transport errors are classified by the caller, because each client has
its own. Waits grow exponentially, with jitter between half and all of them, and a server's Retry-After is honoured.
Clock, sleep and randomness are parameters, so tests do not wait. Tries and waits count as progress (activity.py).

A refusal because of a quota is no failed try: it says when to call again. A wait for a quota uses up neither the tries
nor their time, and has a limit of its own.

Only idempotent calls are retried: the caller says what a repeated call could break.
"""

import email.utils
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from r2_hf_assets import activity
from r2_hf_assets.errors import GaveUp

if TYPE_CHECKING:
    from obstore.store import RetryConfig

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
    """A transient error: why, the seconds that the server asks to wait, and whether a quota is used up."""

    reason: str
    wait: float = 0.0
    quota: bool = False


@dataclass(frozen=True)
class Retry:
    """How often and how long to try.

    Attributes:
        attempts: tries in all.
        base, cap: seconds; the first wait is at most `base`, and no wait longer than `cap`.
        limit: seconds from the first try that failed to the end of the last wait. The first try may take any time.
        silence: seconds without a byte that end a try; None: the client's own.
        quota_limit: seconds to wait for a quota in all.
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
        """Call `function` until it returns, its error is not transient, or tries or time run out.

        Args:
            on_retry: called with a line for each wait.

        Raises:
            GaveUp: a transient error outlasted the tries; names `what` and the last reason.
            Exception: whatever `function` raised, when `classify` returns None for it.
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
    """The tries of one call, counted; for a loop that serves other calls during a wait, and so can't sleep."""

    def __init__(self, retry: Retry, what: str) -> None:
        self.made = 0
        self._retry = retry
        self._what = what
        self._end: float | None = None
        self._refused = 0  # tries refused because of a quota
        self._waited = 0.0  # seconds, for a quota

    def extend(self, seconds: float) -> None:
        """Add time to the limit in which the caller held the call up."""
        if self._end is not None:
            self._end += seconds

    def wait_after(self, trouble: Trouble, error: BaseException | None = None) -> float:
        """Seconds to wait after a failed try. Raises GaveUp (caused by `error`) if there is no next one."""
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
        # The exponent is bounded: a day of short waits is thousands of them, and a float ends at 2**1023.
        backoff = min(retry.cap, retry.base * 2.0 ** min(number - 1, 64))
        return max(trouble.wait, backoff * (0.5 + retry.jitter() / 2))

    def _gave_up(self, trouble: Trouble, when: str) -> GaveUp:
        again = f", still so {when}; a later run will try again" if self._retry.attempts > 1 else ""
        return GaveUp(f"{self._what}: {trouble.reason}{again}")


# Calls without a policy of their own: waits of about two minutes in all. A day for quotas: they are by the hour, so
# what lasts longer is none.
DEFAULT = Retry(attempts=12, base=0.25, cap=30.0, limit=600.0, quota_limit=24 * 3600.0)
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
# Building a chunk once more when its upload breaks off: hf_xet repeats requests by itself for minutes, does not say of
# a refusal that it is one, and a later run is as good as a third try.
STREAM_RETRY = Retry(attempts=2, base=5.0, limit=3600.0)
# Runs of a chunk that planned_chunks requests: again 2, 8, 32 and 128 minutes after a failure, almost three hours in
# all. (A run whose process died is retried by Dagster: run_retries in dagster.yaml.)
RUN_ATTEMPTS, RUN_FIRST_WAIT_S, RUN_WAIT_FACTOR = 5, 120.0, 4


def default_retry() -> Retry:
    """DEFAULT, read at each call: tests shorten it."""
    return DEFAULT


def status_trouble(status: int, headers: Mapping[str, str], now: Callable[[], float] = time.time) -> Trouble | None:
    """The Trouble of a transient HTTP status, with the wait that its headers ask for; None for any other."""
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
