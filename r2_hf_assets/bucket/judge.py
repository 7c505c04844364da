"""One try of a GET: what is read of its answer, and what it has come to: an object, its absence, a refusal, trouble.

The answer's head is complete before the first byte of its body is taken, and says whether the body is wanted. An object
that is larger than the request's limit is not read; neither is one that names no length. An error's body is read up to
64 kB, a listing's up to its limit, whatever they announce. So no server decides how much memory a try takes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pycurl

from r2_hf_assets.bucket import answers
from r2_hf_assets.bucket.curl import Head, read_head
from r2_hf_assets.errors import AccessError
from r2_hf_assets.retry import Trouble, parse_http_date

OK = 200
ERROR_BYTES = 64 * 1024  # of an error's body; what it says stands at its beginning
# What libcurl's error numbers mean to people.
_WORDS = {
    pycurl.E_COULDNT_RESOLVE_HOST: "no connection",
    pycurl.E_COULDNT_CONNECT: "no connection",
    pycurl.E_COULDNT_RESOLVE_PROXY: "the proxy in the environment can't be used",
    pycurl.E_PEER_FAILED_VERIFICATION: answers.UNTRUSTED,
    pycurl.E_OPERATION_TIMEDOUT: "silence",
    pycurl.E_PARTIAL_FILE: "the connection broke",
    pycurl.E_GOT_NOTHING: "the connection broke",
    pycurl.E_SEND_ERROR: "the connection broke",
    pycurl.E_RECV_ERROR: "the connection broke",
}
_NO_OBJECT = answers.no_proper_answer("no length or no time in its head")
_GZIP = frozenset((b"gzip", b"x-gzip"))
_NO_ENCODING = frozenset((b"", b"identity", b"aws-chunked"))  # the last: how the upload was framed


@dataclass(frozen=True, slots=True)
class Fetched:
    """An object's body, in pieces, and its size in bytes; when it was last written, and when it was served, both by the
    server's clock (by ours, where its answers have no Date). `packed`: the pieces are gzip's, and unpacked when taken.
    """

    pieces: Sequence[bytes]
    size: int
    last_modified: datetime
    served: datetime
    packed: bool = False

    @property
    def age(self) -> timedelta:
        """How long ago it was written, whatever our clock says."""
        return max(self.served - self.last_modified, timedelta(0))

    def body(self) -> bytes:
        """The pieces as one."""
        return b"".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Unusable:
    """An object that is there and will never be of use: "too_large", "not_gzip"; `detail` for the ledger."""

    reason: str
    detail: str


# What a GET comes to; None: there is no such object.
Found: TypeAlias = Fetched | Unusable | None
# Reads the answer of the bucket itself: its body, and when it was served (None: it has no Date).
ReadListing: TypeAlias = Callable[[bytes, datetime | None], Any]


@dataclass(slots=True)
class Attempt:
    """What has come in of one try. `limit` in bytes of the body; `listing`: the bucket itself is asked, and
    this reads its answer.

    `stopped` is the outcome of a try that was ended before its body was.
    """

    limit: int
    listing: ReadListing | None = None
    lines: list[bytes] = field(default_factory=list)
    head: Head | None = None
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0
    stopped: Trouble | Unusable | Exception | None = None
    full: bool = False
    _most: int = ERROR_BYTES

    def start_body(self) -> int:
        """Read the head, which is complete when a body begins; how many bytes are to be kept of that body."""
        self.head = head = read_head(self.lines)
        if head.status != OK:
            return 0  # so little needs no place in the byte budget
        if self.listing:
            self._most = self.limit
            if head.length > self.limit:
                self.stopped = _too_long(self.limit)
        elif head.length < 0:
            self.stopped = _NO_OBJECT
        elif head.length > self.limit:
            self.stopped = Unusable("too_large", f"{head.length} bytes")
        else:
            self._most = head.length
        return 0 if self.stopped else max(0, head.length)

    def take(self, piece: bytes) -> bool:
        """Keep a piece of a body that is wanted; False: no more of it is."""
        self.pieces.append(piece)
        self.size += len(piece)
        self.full = self.size > self._most
        return not self.full


def judge(handle: Any, what: str, attempt: Attempt, number: int, message: str) -> Any:
    """Judge a try that is over.

    Args:
        handle: the pycurl handle, to be asked for what the answer's head says of times.
        what: names the question in errors.
        number, message: libcurl's error, 0 when there was none.

    Returns:
        Found, or what a listing's reader makes of its answer; Trouble; an AccessError when the credentials were
        refused, or there is no such bucket.

    Raises:
        Exception: whatever went wrong on our side while a piece came in.
    """
    if isinstance(attempt.stopped, Exception):
        raise attempt.stopped
    written = handle.getinfo(pycurl.INFO_FILETIME)
    if isinstance(attempt.stopped, Unusable) and written < 0:
        return _NO_OBJECT
    if attempt.stopped:
        return attempt.stopped
    if number and not attempt.full:
        if (proxy := handle.getinfo(pycurl.HTTP_CONNECTCODE)) >= 400:
            return Trouble(f"the proxy in the environment answers HTTP {proxy}")
        return answers.no_proper_answer(_WORDS.get(number) or message or f"libcurl error {number}")
    head = attempt.head or read_head(attempt.lines)
    if head.status != OK:
        code = answers.error_code(b"".join(attempt.pieces)[:ERROR_BYTES])
        return _without_body(handle, what, head.status, code, attempt.listing is not None)
    served = parse_http_date(head.date.decode("latin-1"))
    if attempt.listing:
        # It has no time, and may have no length: libcurl knows whether it came whole.
        return _too_long(attempt.limit) if attempt.full else attempt.listing(b"".join(attempt.pieces), served)
    if head.length < 0 or written < 0:
        return _NO_OBJECT
    if attempt.size != head.length:
        return Trouble("the body has another length than its head says")
    return Fetched(
        attempt.pieces,
        attempt.size,
        datetime.fromtimestamp(written, UTC),
        served or datetime.now(UTC),
        _packed(head.encoding),
    )


def _without_body(handle: Any, what: str, status: int, code: str, listing: bool) -> Trouble | AccessError | None:
    if answers.missing(status, code) and not listing:
        return None
    if refused := answers.refusal(status, code):
        return AccessError(f"{what}: {refused}")
    return answers.passing(status, code, handle.getinfo(pycurl.RETRY_AFTER))


def _too_long(limit: int) -> Trouble:
    return answers.no_proper_answer(f"a listing of more than {limit} bytes")


def _packed(encoding: bytes) -> bool:
    if not encoding:
        return False  # nearly always
    applied = [name for part in encoding.lower().split(b",") if (name := part.strip()) not in _NO_ENCODING]
    return len(applied) == 1 and applied[0] in _GZIP
