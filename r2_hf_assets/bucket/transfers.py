"""Run many GETs of one bucket at once, by libcurl, in one thread.

Threads that block in a call are most of what a GET of 80 kB costs: 0.36 ms of CPU with obstore, 128 in flight, and 0.09
here. A transfer that waits for its retry counts as in flight, so a server with errors gets no more load.

The head of a response gives the size of the body. A body that exceeds the byte budget pauses its transfer, and TCP's
back-pressure holds the server. So no bytes beyond the budget are held, but for the object that is the next to be taken.

A transfer is queued, running, paused, waiting for its retry, or done. Time limits count running time only, and retries
count from the first request. Callers' threads and the loop's share the deques and flags below and a condition.
"""

import contextlib
import heapq
import itertools
import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

import pycurl

from r2_hf_assets import activity
from r2_hf_assets.bucket.byte_budget import ByteBudget
from r2_hf_assets.bucket.curl import READ_TIMEOUT_S, CurlLoop, make_handle
from r2_hf_assets.bucket.response import Attempt, Fetched, ReadListing, interpret_response, unpack
from r2_hf_assets.bucket.s3_errors import improper_response
from r2_hf_assets.errors import R2HfError
from r2_hf_assets.retry import Retry, RetryState, TransientError
from r2_hf_assets.settings import BucketSettings

# Of running time, for one attempt: a body that arrives byte by byte is never silent.
_ATTEMPT_S = 30 * 60.0
_LONGEST_STEP_S = 1.0
_PAUSE: int = pycurl.WRITEFUNC_PAUSE
# libcurl ends only after its name lookups, which can hang for minutes.
_CLOSE_S = 1.0


@dataclass(slots=True, eq=False)
class Transfer:
    """One GET, from when it is submitted until it is taken. Times are of the monotonic clock, in seconds."""

    what: str
    url: str
    turn: int
    attempt: Attempt
    tries: RetryState
    handle: Any = None
    last_byte: float = 0.0
    deadline: float = 0.0  # of the attempt
    paused: float = 0.0  # when the pause began
    done: bool = False
    result: Any = None
    error: Exception | None = None
    awaited: bool = False


class Transfers:
    """GETs, `workers` in flight, and up to `max_bytes` of bodies that have arrived and were not yet taken.

    One thread takes the objects, in the order of submission; listings, which are not counted, any thread in any order.
    """

    def __init__(self, r2: BucketSettings, *, workers: int, max_bytes: int, retry: Retry) -> None:
        self._url = f"{r2.endpoint_url.rstrip('/')}/{r2.name}/"
        self._silence_s: float = retry.silence or READ_TIMEOUT_S
        self._retry = retry
        self._budget = ByteBudget(max_bytes)
        self._free = [make_handle(r2) for _ in range(workers)]  # may raise, so before what has to be closed
        self._loop = CurlLoop(workers)
        self._active: dict[Any, Transfer] = {}  # running or paused, by handle
        self._paused: dict[int, Transfer] = {}  # by turn
        self._retries: list[tuple[float, int, Transfer]] = []  # a heap of (due, turn, transfer)
        self._timeouts_checked = 0.0
        self._queue: deque[Transfer] = deque()
        self._released: deque[int] = deque()  # turns
        self._turns = itertools.count()
        self._idle = self._closed = self._ended = False
        self._changed = threading.Condition()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="fetch", daemon=True)
        self._thread.start()

    # Called by the consumers.

    def submit(self, key: str, limit: int) -> Transfer:
        """Submit the GET of an object of up to `limit` bytes."""
        return self._submit(f"GET {key}", self._url + quote(key, safe="/~"), limit)

    def submit_listing(self, query: str, what: str, limit: int, read: ReadListing) -> Transfer:
        """Submit a listing of up to `limit` bytes; `what` names it in errors. `read` is called in the loop's thread."""
        return self._submit(what, f"{self._url}?{query}", limit, read)

    def _submit(self, what: str, url: str, limit: int, read_listing: ReadListing | None = None) -> Transfer:
        transfer = Transfer(what, url, next(self._turns), Attempt(limit, read_listing), RetryState(self._retry, what))
        self._queue.append(transfer)
        if self._idle:
            self._idle = False
            self._loop.wake()
        return transfer

    def take(self, transfer: Transfer) -> Any:
        """Wait for the result; None when there is no such object. `release` is to be called next.

        Raises:
            RetriesExhausted, AccessError: transient errors outlasted the retries; the credentials are refused.
            RuntimeError: the loop was closed, or has failed.
        """
        if not transfer.done:
            with self._changed:
                transfer.awaited = True
                self._changed.wait_for(lambda: transfer.done or self._ended)
        error = transfer.error
        if error is None and transfer.done:
            found = transfer.result
            return unpack(found, transfer.attempt.limit) if isinstance(found, Fetched) else found
        transfer.error = RuntimeError(f"{transfer.what}: its error was raised before")
        try:
            if isinstance(error, R2HfError):
                raise error
            raise RuntimeError(f"{transfer.what}: fetching ended") from self._failure or error
        finally:
            del error  # its traceback refers to this frame: the cycle would live until a garbage collection

    def release(self, transfer: Transfer) -> None:
        """Drop the result that was taken."""
        self._released.append(transfer.turn)
        transfer.result = None
        if self._budget.waiting:
            self._loop.wake()

    def close(self) -> None:
        """Abort what is in flight, within a second. From any thread: `take` in another one then raises."""
        self._closed = True
        self._loop.wake()
        self._thread.join(_CLOSE_S)
        self._failure = None

    # Called in the loop's thread.

    def _run(self) -> None:
        try:
            while not self._closed:
                self._start()
                due = self._retries[0][0] - time.monotonic() if self._retries else _LONGEST_STEP_S
                for handle, number, message in self._loop.step(min(due, self._silence_s / 4, _LONGEST_STEP_S)):
                    self._end_attempt(self._active[handle], number, message)
                self._resume()
                self._check_timeouts()
        except BaseException as error:
            self._failure = error
        finally:
            self._clean_up()

    def _start(self) -> None:
        while self._retries and self._retries[0][0] <= time.monotonic():
            self._send(heapq.heappop(self._retries)[2])
        while self._free:
            self._idle = True  # before the queue is read, so that a later submission wakes the loop
            if not self._queue:
                return
            transfer = self._queue.popleft()
            transfer.handle = self._free.pop()
            self._send(transfer)
        self._idle = False

    def _send(self, transfer: Transfer) -> None:
        handle = transfer.handle
        try:
            handle.setopt(pycurl.URL, transfer.url)
            handle.setopt(pycurl.HEADERFUNCTION, transfer.attempt.lines.append)
            handle.setopt(pycurl.WRITEFUNCTION, partial(self._receive, transfer, transfer.attempt))
            self._loop.add(handle)
        except Exception as error:
            self._finish(transfer, error=error)
        else:
            self._active[handle] = transfer
            transfer.last_byte = time.monotonic()
            transfer.deadline = transfer.last_byte + _ATTEMPT_S

    def _receive(self, transfer: Transfer, attempt: Attempt, piece: bytes) -> int | None:
        transfer.last_byte = time.monotonic()
        activity.advance()
        try:
            if not attempt.status:
                size = attempt.start_body()
                if attempt.outcome:
                    return 0  # libcurl ends the attempt
                if size and not self._budget.try_acquire(transfer.turn, size):
                    self._paused[transfer.turn] = transfer
                    transfer.paused = time.monotonic()
                    return _PAUSE  # the same piece is passed again
            return None if attempt.add(piece) else 0
        except Exception as error:
            attempt.outcome = error
            return 0

    def _resume(self) -> None:
        while self._released:
            self._budget.release(self._released.popleft())
        for turn in self._budget.granted():
            transfer = self._paused[turn]
            self._end_pause(transfer)
            try:
                transfer.handle.pause(pycurl.PAUSE_CONT)
            except pycurl.error as error:  # the attempt ended with the pieces that were passed
                self._end_attempt(transfer, error.args[0], str(error.args[-1]))

    def _end_attempt(self, transfer: Transfer, number: int = 0, message: str = "") -> None:
        try:
            outcome = interpret_response(transfer.handle, transfer.what, transfer.attempt, number, message)
            if isinstance(outcome, TransientError):
                due = time.monotonic() + transfer.tries.next_wait(outcome)
                self._end_transfer(transfer)
                heapq.heappush(self._retries, (due, transfer.turn, transfer))
            else:
                self._finish(transfer, outcome)
        except Exception as error:
            self._finish(transfer, error=error)

    def _check_timeouts(self) -> None:
        now = time.monotonic()
        if now - self._timeouts_checked < self._silence_s / 4:
            return
        self._timeouts_checked = now
        for transfer in [one for one in self._active.values() if one.turn not in self._paused]:
            silent = now - transfer.last_byte > self._silence_s
            if silent or now > transfer.deadline:
                problem = "silence" if silent else f"not whole after {_ATTEMPT_S / 60:g} minutes"
                transfer.attempt.outcome = improper_response(problem)
                self._end_attempt(transfer)

    def _finish(self, transfer: Transfer, result: Any = None, error: Exception | None = None) -> None:
        transfer.result, transfer.error = result, error
        self._end_transfer(transfer)
        transfer.done = True
        self._free.append(transfer.handle)
        transfer.handle = None
        if transfer.awaited:
            with self._changed:
                self._changed.notify_all()

    def _end_pause(self, transfer: Transfer) -> None:
        if self._paused.pop(transfer.turn, None):
            transfer.last_byte = time.monotonic()
            transfer.deadline += transfer.last_byte - transfer.paused
            transfer.tries.extend(transfer.last_byte - transfer.paused)

    def _end_transfer(self, transfer: Transfer) -> None:
        """Remove it from libcurl's loop, and drop what has arrived, but for a result."""
        self._end_pause(transfer)
        if self._active.pop(transfer.handle, None):
            self._loop.remove(transfer.handle)
        transfer.attempt = Attempt(transfer.attempt.limit, transfer.attempt.read_listing)
        if not isinstance(transfer.result, Fetched):
            self._budget.cancel(transfer.turn)

    def _clean_up(self) -> None:
        """Fail what is unfinished, and drop all references. Consumers are notified first."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for transfer in [*self._active.values(), *(waiting for *_, waiting in self._retries)]:
            with contextlib.suppress(Exception):
                self._finish(transfer, error=RuntimeError("it was closed"))
        for handle in self._free:
            handle.close()  # its callbacks refer to this object, which refers to it
        for registered in (self._free, self._active, self._paused, self._retries, self._queue, self._released):
            registered.clear()
        self._loop.close()


class Bucket:
    """The bucket of the episodes, which is only read. Tests have one in memory."""

    def __init__(self, r2: BucketSettings) -> None:
        self._r2 = r2

    def open_transfers(self, *, workers: int, max_bytes: int, retry: Retry) -> Transfers:
        """Open connections of their own, to be closed by the caller."""
        return Transfers(self._r2, workers=workers, max_bytes=max_bytes, retry=retry)
