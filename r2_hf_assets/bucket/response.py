"""Interpret the response to one attempt of a GET: an object, no object, a refusal or a transient error.

The head is complete before the first byte of the body, and decides whether the body is read. An object larger than the
request's limit is not read; one without a length is an error. Of an error's body 64 kB are read, of a listing's up to
its limit. So no server decides how much memory an attempt takes.

Objects that are stored with Content-Encoding: gzip arrive as they are stored. `unpack` reads them when they are taken,
one at a time and up to the limit of their request, because a small object can hold gigabytes of zeros.
"""

import gzip
import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pycurl

from r2_hf_assets.bucket.s3_errors import classify_curl_error, classify_response, error_code, improper_response
from r2_hf_assets.retry import TransientError, parse_http_date

_OK = 200
_ERROR_BYTES = 64 * 1024
_UNPACKED_PIECE_BYTES = 2**20
_NO_OBJECT = improper_response("no length or no time in its head")
_NO_ENCODING = frozenset((b"", b"identity", b"aws-chunked"))  # the last: how the upload was framed


@dataclass(frozen=True, slots=True)
class Fetched:
    """The body of an object, in pieces of `size` bytes in all."""

    pieces: Sequence[bytes]
    size: int
    age: timedelta  # from its writing to this response, by the server's clock (by ours, where responses have no Date)
    packed: bool = False  # by gzip

    def body(self) -> bytes:
        """Join the pieces."""
        return b"".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Unusable:
    """An object that exists and can never be used: "too_large", "not_gzip"; `detail` for the ledger."""

    reason: str
    detail: str


# What a GET of a key comes to; None: there is no such object.
GetResult: TypeAlias = Fetched | Unusable | None
# Reads the body of a listing and when it was served (None: there is no Date); returns Trouble for a body that is
# to be requested again.
ReadListing: TypeAlias = Callable[[bytes, datetime | None], Any]


@dataclass(slots=True)
class Attempt:
    """What has arrived of one attempt."""

    limit: int  # bytes of a body that is kept
    read_listing: ReadListing | None = None  # when the request is a listing
    lines: list[bytes] = field(default_factory=list)  # of the head
    status: int = 0  # until the head is read
    fields: dict[bytes, bytes] = field(default_factory=dict)
    length: int = -1  # bytes of the body, as the head announces it; -1 when it does not
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0
    outcome: TransientError | Unusable | Exception | None = None  # of an attempt that ends before its body is complete

    def read_head(self) -> None:
        """Parse the head's lines. (While a body arrives, pycurl does not let a handle be asked for them.)"""
        for line in self.lines:
            if line.startswith(b"HTTP/"):  # an earlier head was a proxy's, or a 100
                self.status, self.fields = int(line.split(None, 2)[1]), {}
            else:
                name, _, value = line.partition(b":")
                self.fields[name.lower()] = value.strip()
        length = self.fields.get(b"content-length", b"")
        self.length = int(length) if length.isdigit() else -1

    def start_body(self) -> int:
        """Read the head; returns the object's bytes that the budget has to hold (0 for errors and listings)."""
        self.read_head()
        if self.status != _OK or self.read_listing:
            return 0
        if self.length < 0:
            self.outcome = _NO_OBJECT
        elif self.length > self.limit:
            self.outcome = Unusable("too_large", f"{self.length} bytes")
        return self.length

    def add(self, piece: bytes) -> bool:
        """Keep a piece of the body; False: no more is wanted."""
        self.pieces.append(piece)
        self.size += len(piece)
        return not self.overflow

    @property
    def overflow(self) -> bool:
        """Whether more has arrived than is kept of such a body."""
        return self.size > (self.limit if self.status == _OK else _ERROR_BYTES)


def interpret_response(handle: Any, what: str, attempt: Attempt, number: int, message: str) -> Any:
    """Interpret an attempt that is over; `number` and `message` are libcurl's error (0: none).

    Returns:
        Found, or what `read_listing` returns; Trouble for a transient error.

    Raises:
        AccessError: a refusal.
        Exception: a callback of ours failed while the body arrived.
    """
    if isinstance(attempt.outcome, Exception):
        raise attempt.outcome
    written = handle.getinfo(pycurl.INFO_FILETIME)
    if isinstance(attempt.outcome, Unusable) and written < 0:
        return _NO_OBJECT
    if attempt.outcome:
        return attempt.outcome
    if number and not attempt.overflow:
        if (proxy := handle.getinfo(pycurl.HTTP_CONNECTCODE)) >= 400:
            return TransientError(f"the proxy in the environment answers HTTP {proxy}")
        return classify_curl_error(number, message)
    if not attempt.status:  # there was no body
        attempt.read_head()
    if attempt.status != _OK:
        code = error_code(b"".join(attempt.pieces).decode("latin-1"))
        trouble = classify_response(what, attempt.status, code, handle.getinfo(pycurl.RETRY_AFTER))
        return improper_response(f"HTTP {attempt.status} {code}") if not trouble and attempt.read_listing else trouble
    served = parse_http_date(attempt.fields.get(b"date", b"").decode("latin-1"))
    if attempt.read_listing:
        # It has no time, and may have no length: libcurl reports when it is incomplete.
        if attempt.overflow:
            return improper_response(f"a listing of more than {attempt.limit} bytes")
        return attempt.read_listing(b"".join(attempt.pieces), served)
    if attempt.length < 0 or written < 0:
        return _NO_OBJECT
    if attempt.size != attempt.length:
        return TransientError("the body has another length than its head says")
    age = max((served or datetime.now(UTC)) - datetime.fromtimestamp(written, UTC), timedelta(0))
    return Fetched(attempt.pieces, attempt.size, age, _is_gzip(attempt.fields.get(b"content-encoding", b"")))


def unpack(found: Fetched, limit: int) -> Fetched | Unusable:
    """Unpack an object of up to `limit` bytes. One that is not packed is returned unchanged."""
    if not found.packed:
        return found
    pieces, size = list[bytes](), 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(found.body())) as stream:
            while piece := stream.read(_UNPACKED_PIECE_BYTES):
                size += len(piece)
                if size > limit:
                    return Unusable("too_large", f"{found.size} bytes, more than {limit} when unpacked")
                pieces.append(piece)
    except (OSError, EOFError, zlib.error) as problem:
        return Unusable("not_gzip", f"{found.size} bytes; {problem}"[:200])
    return replace(found, pieces=pieces, size=size, packed=False)


def _is_gzip(encoding: bytes) -> bool:
    applied = [name for part in encoding.lower().split(b",") if (name := part.strip()) not in _NO_ENCODING]
    return applied in ([b"gzip"], [b"x-gzip"])
