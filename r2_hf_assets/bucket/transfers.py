"""Many GETs of one bucket at once, by libcurl, in one thread.

Threads that each wait for a call are what a GET of 80 kB mostly costs: with obstore's, 128 at a time, 0.36 ms of CPU,
here 0.09. What a try has come to is judged (judge.py), trouble that may pass is repeated after a wait that the retry
rules name, and a transfer that waits keeps its place among those in flight, so a server in trouble is not met with
more.

Bodies come in as pieces of libcurl's choice. Before the first piece is taken the answer's head has said how large the
body is; when that exceeds the byte budget (room.py) the transfer is paused and the server waits. Nothing larger than
the budget is ever held, but for the object that is the next to be taken.

A transfer is in one State, and `_move` is the only place that changes it: what a state registers (the handle in
libcurl's loop, the byte budget, the retries that are due, the free handles) is cleared there when the state is left. No
clock runs against a transfer that is queued or paused: time limits count running time, and retries count from the
first request.

The caller's thread and this one share the deques and flags below and a condition; all else is the one's or the other's.
"""

import contextlib
import heapq
import threading
import time
from collections import deque
from functools import partial
from typing import Any
from urllib.parse import quote

import pycurl
from obstore.store import S3Store

from r2_hf_assets import activity
from r2_hf_assets.bucket import answers, client
from r2_hf_assets.bucket.curl import CurlLoop, get_handle
from r2_hf_assets.bucket.judge import Attempt, Fetched, ReadListing, judge
from r2_hf_assets.bucket.room import Room
from r2_hf_assets.bucket.transfer import State, Transfer
from r2_hf_assets.bucket.unpack import unpack
from r2_hf_assets.errors import GaveUp, R2HfError
from r2_hf_assets.retry import Retry, Tries, Trouble

# Of running time, for one try: a body that comes by the byte is no progress.
_TRANSFER_S = 30 * 60.0
_LONGEST_STEP_S = 1.0
# libcurl ends only after its name lookups, which can hang for longer than anybody wants to wait.
_CLOSE_S = 1.0
# A page of 1,000 names takes 4 MB when each is a key of 1,024 bytes, URL-encoded.
_LISTING_BYTES = 8 * 2**20


class Transfers:
    """GETs, `workers` in flight, for one consumer, who takes them in the order in which it asked.

    Args:
        store: which bucket, by which keys.
        max_bytes: of bodies that have arrived and were not yet taken.
    """

    def __init__(self, store: S3Store, *, workers: int, max_bytes: int, retry: Retry) -> None:
        config = store.config
        self._url = f"{config['endpoint'].rstrip('/')}/{config['bucket']}/"
        self._prefix = f"{store.prefix}/" if store.prefix else ""
        self._silence_s: float = retry.silence or client.READ_TIMEOUT_S
        self._retry = retry
        self._room = Room(max_bytes)
        self._loop = CurlLoop(workers)
        self._free = [get_handle(config, connect_s=client.CONNECT_TIMEOUT_S) for _ in range(workers)]
        self._active: dict[Any, Transfer] = {}  # running or paused, by handle
        self._paused: dict[int, Transfer] = {}  # by turn
        self._later: list[tuple[float, int, Transfer]] = []  # a heap of those that wait for their next try
        self._looked = 0.0
        self._asked: deque[Transfer] = deque()
        self._left: deque[int] = deque()
        self._turns = 0
        self._hungry = self._closed = self._over = False
        self._changed = threading.Condition()
        self._awaited: Transfer | None = None
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="fetch", daemon=True)
        self._thread.start()

    # the consumer's side

    def ask(self, key: str, limit: int) -> Transfer:
        """Ask for an object of up to `limit` bytes; it comes when its turn has come."""
        return self._ask(f"GET {key}", self._url + quote(self._prefix + key, safe="/~"), limit)

    def ask_listing(self, query: str, what: str, read: ReadListing) -> Transfer:
        """Ask the bucket itself; `what` names the question in errors.

        Args:
            read: makes what is taken of an answer's body and the time it was served, or Trouble, which asks for it
                again. It is called in the loop's thread.
        """
        return self._ask(what, f"{self._url}?{query}", _LISTING_BYTES, read)

    def _ask(self, what: str, url: str, limit: int, listing: ReadListing | None = None) -> Transfer:
        transfer = Transfer(what, url, self._turns, limit, listing)
        self._turns += 1
        self._asked.append(transfer)
        if self._hungry:
            self._hungry = False
            self._loop.wake()
        return transfer

    def take(self, transfer: Transfer) -> Any:
        """Wait for an object; None when there is none. The next call of `leave` is about it.

        Raises:
            GaveUp: passing trouble outlasted the retries.
            AccessError: the credentials were refused.
            RuntimeError: fetching has ended, by a mistake of ours.
        """
        if transfer.state is not State.DONE:
            with self._changed:
                self._awaited = transfer
                self._changed.wait_for(lambda: transfer.state is State.DONE or self._over)
                self._awaited = None
        error = transfer.error
        if error is None and transfer.state is State.DONE:
            found = transfer.result
            return unpack(found, transfer.limit) if isinstance(found, Fetched) else found
        transfer.error = RuntimeError(f"{transfer.what}: its error was raised before")
        try:
            if isinstance(error, R2HfError):
                raise error
            raise RuntimeError(f"{transfer.what}: fetching ended") from error or self._broken
        finally:
            del error  # it knows this frame by now: together they would stay until the garbage collector looks

    def leave(self, transfer: Transfer) -> None:
        """The object that was taken is not needed any more."""
        self._left.append(transfer.turn)
        transfer.result = None
        if self._room.waiting:
            self._loop.wake()

    def close(self) -> None:
        """End what is under way; its results have nowhere to go. Takes a second at most, whatever the servers do.

        From any thread: `take` in another one then raises.
        """
        self._closed = True
        self._loop.wake()
        self._thread.join(_CLOSE_S)
        self._broken = None

    # the loop's side

    def _run(self) -> None:
        try:
            while not self._closed:
                self._begin()
                for handle, number, message in self._loop.step(self._patience()):
                    self._end(self._active[handle], number, message)
                self._resume()
                self._hang_up()
        except BaseException as error:
            self._broken = error
        finally:
            self._drop()

    def _begin(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            self._send(heapq.heappop(self._later)[2])
        while self._free:
            self._hungry = True  # said before the look: what is asked for behind it wakes the loop
            if not self._asked:
                return
            transfer = self._asked.popleft()
            transfer.handle = self._free.pop()
            self._send(transfer)
        self._hungry = False

    def _send(self, transfer: Transfer) -> None:
        handle, transfer.attempt = transfer.handle, Attempt(transfer.limit, transfer.listing)
        transfer.tries = transfer.tries or Tries(self._retry, transfer.what)
        try:
            handle.setopt(pycurl.URL, transfer.url)
            handle.setopt(pycurl.HEADERFUNCTION, transfer.attempt.lines.append)
            handle.setopt(pycurl.WRITEFUNCTION, partial(self._arrived, transfer, transfer.attempt))
            self._move(transfer, State.RUNNING)
        except Exception as error:
            self._finish(transfer, error=error)

    def _arrived(self, transfer: Transfer, attempt: Attempt, piece: bytes) -> int | None:
        transfer.heard = time.monotonic()
        activity.advance()
        try:
            if attempt.head is None:
                size = attempt.start_body()
                if attempt.stopped:
                    return 0  # libcurl ends the try
                if size and not self._room.enter(transfer.turn, size):
                    self._move(transfer, State.PAUSED)
                    return pycurl.WRITEFUNC_PAUSE  # the same piece comes again
            return None if attempt.take(piece) else 0
        except Exception as error:
            attempt.stopped = error
            return 0

    def _resume(self) -> None:
        while self._left:
            self._room.leave(self._left.popleft())
        for turn in self._room.admitted():
            transfer = self._paused[turn]
            self._move(transfer, State.RUNNING)
            try:
                transfer.handle.pause(pycurl.PAUSE_CONT)
            except pycurl.error as error:  # the try ended with the pieces that it was given
                self._end(transfer, error.args[0], str(error.args[-1]))

    def _end(self, transfer: Transfer, number: int = 0, message: str = "") -> None:
        """A try is over."""
        assert transfer.attempt is not None and transfer.tries is not None
        try:
            outcome = judge(transfer.handle, transfer.what, transfer.attempt, number, message)
            if isinstance(outcome, Trouble):
                transfer.due = time.monotonic() + transfer.tries.wait_after(outcome)
                self._move(transfer, State.WAITING)
            elif isinstance(outcome, R2HfError):
                self._finish(transfer, error=outcome)
            else:
                self._finish(transfer, outcome)
        except GaveUp as error:
            self._finish(transfer, error=error.with_traceback(None))
        except Exception as error:
            self._finish(transfer, error=error)

    def _hang_up(self) -> None:
        now = time.monotonic()
        if now - self._looked < self._silence_s / 4:
            return
        self._looked = now
        for transfer in [one for one in self._active.values() if one.state is State.RUNNING]:
            assert transfer.attempt is not None
            if now - transfer.heard > self._silence_s:
                transfer.attempt.stopped = answers.no_proper_answer("silence")
            elif transfer.ran + now - transfer.since > _TRANSFER_S:
                transfer.attempt.stopped = answers.no_proper_answer(f"not whole after {_TRANSFER_S / 60:g} minutes")
            else:
                continue
            self._end(transfer)

    def _finish(self, transfer: Transfer, result: Any = None, error: Exception | None = None) -> None:
        transfer.result, transfer.error = result, error
        self._move(transfer, State.DONE)
        if self._awaited is transfer:
            with self._changed:
                self._changed.notify()

    def _move(self, transfer: Transfer, state: State) -> None:
        """Leave one state for another. Whatever is registered anywhere is registered and cleared here."""
        now, handle = time.monotonic(), transfer.handle
        if transfer.state is State.PAUSED:
            del self._paused[transfer.turn]
            assert transfer.tries is not None
            transfer.tries.extend(now - transfer.since)
            transfer.heard = now
        elif transfer.state is State.RUNNING:
            transfer.ran += now - transfer.since
        if state is State.PAUSED:
            self._paused[transfer.turn] = transfer
        elif state is not State.RUNNING:
            if self._active.pop(handle, None) is not None:
                self._loop.remove(handle)
            transfer.attempt = None
            if not isinstance(transfer.result, Fetched):
                self._room.withdraw(transfer.turn)
            if state is State.WAITING:
                heapq.heappush(self._later, (transfer.due, transfer.turn, transfer))
            else:
                transfer.handle = None
                self._free.append(handle)
        elif transfer.state is not State.PAUSED:
            self._loop.add(handle)
            self._active[handle] = transfer
            transfer.ran, transfer.heard = 0.0, now
        transfer.since, transfer.state = now, state

    def _drop(self) -> None:
        """The loop has ended. Who waits for a result hears of it first; then nothing is kept."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        ended = self._broken if isinstance(self._broken, Exception) else RuntimeError("it was closed")
        for transfer in [*self._active.values(), *(waiting for *_, waiting in self._later)]:
            with contextlib.suppress(Exception):
                self._finish(transfer, error=ended)  # with neither result nor error it would read as a missing object
        for handle in self._free:
            handle.close()  # its callbacks know this object, and this object knows it
        for registered in (self._free, self._active, self._paused, self._later, self._asked, self._left):
            registered.clear()
        self._loop.close()

    def _patience(self) -> float:
        due = self._later[0][0] - time.monotonic() if self._later else _LONGEST_STEP_S
        return min(due, self._silence_s / 4, _LONGEST_STEP_S)
