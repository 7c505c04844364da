"""Many GETs of one bucket at once, by libcurl, in one thread.

Threads that each wait for a call are what a GET of 80 kB mostly costs: with obstore's, 128 at a time, 0.36 ms of CPU,
here 0.09. What a try has come to is judged (judge.py), trouble that may pass is repeated after a wait that the retry
rules name, and a transfer that waits keeps its place among those in flight, so a server in trouble is not met with
more.

Bodies come in as pieces of libcurl's choice. Before the first piece is taken the answer's head has said how large the
body is; when that has no room (room.py) the transfer is paused and the server waits. Nothing larger than the room is
ever held, but for the object that is the next to be taken.

The caller's thread and this one share the deques and flags below and a condition; all else is the one's or the other's.
"""

import heapq
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote

import pycurl
from obstore.store import S3Store

from r2_hf_assets import activity
from r2_hf_assets.bucket import client
from r2_hf_assets.bucket.curl import CurlLoop, announced, get_handle
from r2_hf_assets.bucket.judge import OK, Fetched, judge
from r2_hf_assets.bucket.room import Room
from r2_hf_assets.errors import AccessError, GaveUp
from r2_hf_assets.retry import Retry, Tries, Trouble

_TRANSFER_S = 30 * 60.0
_LONGEST_STEP_S = 1.0


@dataclass(slots=True, eq=False)
class Transfer:
    """One GET, from when it was asked for until it is taken. `room` is how many bytes it holds in the Room."""

    what: str
    url: str
    turn: int
    tries: Tries
    listing: bool = False
    head: list[bytes] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    room: int | None = None
    heard: float = 0.0  # when something last came
    done: bool = False
    result: Fetched | None = None
    error: Exception | None = None


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
        self._silence_s: float = client.READ_TIMEOUT_S
        self._retry = retry
        self._room = Room(max_bytes)
        self._loop = CurlLoop(workers)
        new_handle = partial(
            get_handle,
            config["access_key_id"],
            config["secret_access_key"],
            config["region"],
            connect_s=client.CONNECT_TIMEOUT_S,
            transfer_s=_TRANSFER_S,
        )
        self._free = [new_handle() for _ in range(workers)]
        self._active: dict[Any, Transfer] = {}
        self._paused: dict[int, Any] = {}  # handles, by turn
        self._later: list[tuple[float, int, Any, Transfer]] = []  # a heap of tries that are to be made
        self._looked = 0.0
        self._asked: deque[Transfer] = deque()
        self._left: deque[int] = deque()
        self._turns = 0
        self._hungry = self._closed = False
        self._changed = threading.Condition()
        self._awaited: Transfer | None = None
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="fetch", daemon=True)
        self._thread.start()

    # the consumer's side

    def ask(self, key: str) -> Transfer:
        """Ask for an object; it comes when its turn has come."""
        return self._ask(f"GET {key}", self._url + quote(self._prefix + key, safe="/~"))

    def ask_listing(self, query: str, what: str) -> Transfer:
        """Ask the bucket itself; `what` names the question in errors. The answer counts as written when it came."""
        return self._ask(what, f"{self._url}?{query}", listing=True)

    def _ask(self, what: str, url: str, listing: bool = False) -> Transfer:
        transfer = Transfer(what, url, self._turns, Tries(self._retry, what), listing)
        self._turns += 1
        self._asked.append(transfer)
        if self._hungry:
            self._hungry = False
            self._loop.wake()
        return transfer

    def take(self, transfer: Transfer) -> Fetched | None:
        """Wait for an object; None when there is none. The next call of `leave` is about it.

        Raises:
            GaveUp: passing trouble outlasted the retries.
            AccessError: the credentials were refused.
        """
        if not transfer.done:
            with self._changed:
                self._awaited = transfer
                self._changed.wait_for(lambda: transfer.done or self._broken)
                self._awaited = None
        if transfer.error:
            raise transfer.error
        if not transfer.done:
            raise RuntimeError("fetching ended") from self._broken
        return transfer.result

    def leave(self, transfer: Transfer) -> None:
        """The object that was taken is not needed any more."""
        self._left.append(transfer.room or 0)
        transfer.result = None
        if self._room.waiting:
            self._loop.wake()

    def close(self) -> None:
        """End what is under way; its results have nowhere to go."""
        self._closed = True
        self._loop.wake()
        self._thread.join()

    # the loop's side

    def _run(self) -> None:
        try:
            while not self._closed:
                self._begin()
                for handle, number, message in self._loop.step(self._patience()):
                    self._end(handle, number, message)
                self._resume()
                self._hang_up_on_silence()
        except BaseException as error:
            self._broken = error
        finally:
            for handle in self._active:
                self._loop.remove(handle)
            self._loop.close()
            self._broken = self._broken or RuntimeError("it was closed")
            with self._changed:
                self._changed.notify()

    def _begin(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            _, _, handle, transfer = heapq.heappop(self._later)
            self._start(handle, transfer)
        while self._free:
            self._hungry = True  # said before the look: what is asked for behind it wakes the loop
            if not self._asked:
                return
            self._start(self._free.pop(), self._asked.popleft())
        self._hungry = False

    def _start(self, handle: Any, transfer: Transfer) -> None:
        transfer.head, transfer.pieces, transfer.heard = [], [], time.monotonic()
        handle.setopt(pycurl.URL, transfer.url)
        handle.setopt(pycurl.HEADERFUNCTION, transfer.head.append)
        handle.setopt(pycurl.WRITEFUNCTION, partial(self._arrived, handle, transfer))
        self._active[handle] = transfer
        self._loop.add(handle)

    def _arrived(self, handle: Any, transfer: Transfer, piece: bytes) -> int | None:
        transfer.heard = time.monotonic()
        activity.advance()
        if not transfer.pieces and not self._has_room(transfer):
            self._paused[transfer.turn] = handle
            return pycurl.WRITEFUNC_PAUSE  # the same piece comes again
        transfer.pieces.append(piece)
        return None

    def _has_room(self, transfer: Transfer) -> bool:
        if transfer.room is None:  # else it waited for it, or an earlier try did
            status, size = announced(transfer.head)
            if status != OK:
                return True
            if not self._room.enter(transfer.turn, max(0, size)):
                return False
            transfer.room = max(0, size)
        return True

    def _resume(self) -> None:
        while self._left:
            self._room.leave(self._left.popleft())
        for turn, size in self._room.admitted():
            handle = self._paused.pop(turn)
            transfer = self._active[handle]
            transfer.room, transfer.heard = size, time.monotonic()
            handle.pause(pycurl.PAUSE_CONT)

    def _end(self, handle: Any, number: int, message: str) -> None:
        transfer = self._active.pop(handle)
        self._loop.remove(handle)
        try:
            outcome = judge(handle, transfer.what, transfer.pieces, number, message, listing=transfer.listing)
            if isinstance(outcome, Trouble):
                due = time.monotonic() + transfer.tries.wait_after(outcome)
                heapq.heappush(self._later, (due, transfer.turn, handle, transfer))
                return
            transfer.result = outcome
        except (AccessError, GaveUp) as error:
            transfer.error = error
        transfer.head, transfer.pieces = [], []
        self._free.append(handle)
        transfer.done = True
        if self._awaited is transfer:
            with self._changed:
                self._changed.notify()

    def _hang_up_on_silence(self) -> None:
        now = time.monotonic()
        if now - self._looked < self._silence_s / 4:
            return
        self._looked = now
        silent = [
            handle
            for handle, transfer in self._active.items()
            if now - transfer.heard > self._silence_s and transfer.turn not in self._paused
        ]
        for handle in silent:
            self._end(handle, pycurl.E_OPERATION_TIMEDOUT, "")

    def _patience(self) -> float:
        due = self._later[0][0] - time.monotonic() if self._later else _LONGEST_STEP_S
        return min(due, self._silence_s / 4, _LONGEST_STEP_S)
