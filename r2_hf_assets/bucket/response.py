"""Interpret the response to one attempt of a request: an object, no object, a refusal or a transient error.

The headers decide whether the body is read, so that no response exhausts memory: an object larger than the request's
limit is not read, one without a length is an error, and of an error's body 64 kB are read.

Objects that are stored with Content-Encoding: gzip arrive compressed. `unpack` reads them when they are taken, one at a
time and up to the limit, because a small object can hold gigabytes of zeros.

A response to a HEAD has no body, so its 404 has no error code. It counts as a missing object, although a missing bucket
and a proxy give the same: whoever acts on it confirms it by a GET.
"""

import gzip
import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pycurl

from r2_hf_assets.bucket.s3_errors import (
    NO_SUCH_KEY,
    classify_curl_error,
    classify_response,
    error_code,
    request_failed,
)
from r2_hf_assets.retry import TransientError, parse_http_date

_OK = 200
_ERROR_BYTES = 64 * 1024
_UNPACKED_PIECE_BYTES = 2**20
_NO_OBJECT = request_failed("no Content-Length or Last-Modified")
_NO_ETAG = request_failed("no ETag")
_NO_ENCODING = frozenset((b"", b"identity", b"aws-chunked"))  # the last is the framing of an upload


@dataclass(frozen=True, slots=True)
class Fetched:
    """The body of an object."""

    pieces: Sequence[bytes]
    size: int  # of all pieces, in bytes
    age: timedelta  # since its last write, by the response's Date (by the local clock where there is none)
    packed: bool = False  # by gzip
    etag: str = ""  # without quotes; it changes with each new content

    def body(self) -> bytes:
        return b"".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Head:
    """The headers of an object."""

    etag: str  # as of Fetched; never empty
    size: int  # in bytes, as stored
    modified: datetime  # its last write, in UTC


@dataclass(frozen=True, slots=True)
class Unusable:
    """An object that exists and can't be used: "too_large" or "not_gzip". `detail` is for the index."""

    reason: str
    detail: str
    etag: str = ""


# None: there is no such object. A HEAD gives a Head or None.
GetResult: TypeAlias = Fetched | Unusable | None
# Parses a listing from its body and its Date (None: there is none); returns a TransientError for an invalid one.
ReadListing: TypeAlias = Callable[[bytes, datetime | None], Any]


@dataclass(slots=True)
class Attempt:
    """The part of a response that has arrived."""

    limit: int  # bytes of a body
    read_listing: ReadListing | None = None  # when the request is a listing
    head: bool = False  # whether the request is a HEAD
    header_lines: list[bytes] = field(default_factory=list)
    status: int = 0  # until the headers are parsed
    headers: dict[bytes, bytes] = field(default_factory=dict)
    length: int = -1  # Content-Length; -1 when there is none
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0
    outcome: TransientError | Unusable | Exception | None = None  # of an attempt that ends before its body is complete

    def renewed(self) -> "Attempt":
        """Return a new attempt of the same request."""
        return Attempt(self.limit, self.read_listing, self.head)

    def parse_headers(self) -> None:
        """Parse the header lines: while a body arrives, a pycurl handle can't be queried for them."""
        for line in self.header_lines:
            if line.startswith(b"HTTP/"):  # earlier headers were a proxy's, or those of a 100 Continue
                self.status, self.headers = int(line.split(None, 2)[1]), {}
            else:
                name, _, value = line.partition(b":")
                self.headers[name.lower()] = value.strip()
        length = self.headers.get(b"content-length", b"")
        self.length = int(length) if length.isdigit() else -1

    def start_body(self) -> int:
        """Parse the headers, and return the bytes that count towards the budget (0 for errors and listings)."""
        self.parse_headers()
        if self.status != _OK or self.read_listing:
            return 0
        if self.length < 0:
            self.outcome = _NO_OBJECT
        elif self.length > self.limit:
            self.outcome = Unusable("too_large", f"{self.length} bytes")
        return self.length

    def add(self, piece: bytes) -> bool:
        """Append a piece of the body; return False when the limit is exceeded."""
        self.pieces.append(piece)
        self.size += len(piece)
        return not self.overflow

    @property
    def overflow(self) -> bool:
        """Whether the body is larger than its limit."""
        return self.size > (self.limit if self.status == _OK else _ERROR_BYTES)


def interpret_response(handle: Any, what: str, attempt: Attempt, number: int, message: str) -> Any:
    """Interpret an attempt that has ended; `number` and `message` are libcurl's error (0: none).

    Return a GetResult, a Head, or the result of `read_listing`; a TransientError when the request is to be retried.
    Raises AccessError, and the error of a callback that failed while the body arrived.
    """
    if isinstance(attempt.outcome, Exception):
        raise attempt.outcome
    written = handle.getinfo(pycurl.INFO_FILETIME)
    if isinstance(attempt.outcome, Unusable):
        return replace(attempt.outcome, etag=_etag(attempt)) if written >= 0 else _NO_OBJECT
    if attempt.outcome:
        return attempt.outcome
    if number and not attempt.overflow:
        if (proxy := handle.getinfo(pycurl.HTTP_CONNECTCODE)) >= 400:
            return TransientError(f"the proxy in the environment returned HTTP {proxy}")
        return classify_curl_error(number, message)
    if not attempt.status:  # there was no body
        attempt.parse_headers()
    if attempt.status != _OK:
        missing = attempt.head and attempt.status == 404
        code = NO_SUCH_KEY if missing else error_code(b"".join(attempt.pieces).decode("latin-1"))
        error = classify_response(what, attempt.status, code, handle.getinfo(pycurl.RETRY_AFTER))
        return request_failed(f"HTTP {attempt.status} {code}") if not error and attempt.read_listing else error
    served = parse_http_date(attempt.headers.get(b"date", b"").decode("latin-1"))
    if attempt.read_listing:
        # It may have no length: libcurl reports when it is incomplete.
        if attempt.overflow:
            return request_failed(f"a listing of more than {attempt.limit} bytes")
        return attempt.read_listing(b"".join(attempt.pieces), served)
    if attempt.length < 0 or written < 0:
        return _NO_OBJECT
    if attempt.head:
        etag, modified = _etag(attempt), datetime.fromtimestamp(written, UTC)
        return Head(etag, attempt.length, modified) if etag else _NO_ETAG
    if attempt.size != attempt.length:
        return TransientError("the body does not match its Content-Length")
    age = max((served or datetime.now(UTC)) - datetime.fromtimestamp(written, UTC), timedelta(0))
    packed = _is_gzip(attempt.headers.get(b"content-encoding", b""))
    return Fetched(attempt.pieces, attempt.size, age, packed, _etag(attempt))


def _etag(attempt: Attempt) -> str:
    return attempt.headers.get(b"etag", b"").decode("latin-1").strip('"')


def unpack(fetched: Fetched, limit: int) -> Fetched | Unusable:
    """Unpack an object of up to `limit` bytes, if it is packed."""
    if not fetched.packed:
        return fetched
    pieces, size = list[bytes](), 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(fetched.body())) as stream:
            while piece := stream.read(_UNPACKED_PIECE_BYTES):
                size += len(piece)
                if size > limit:
                    return Unusable("too_large", f"{fetched.size} bytes, more than {limit} when unpacked", fetched.etag)
                pieces.append(piece)
    except (OSError, EOFError, zlib.error) as error:
        return Unusable("not_gzip", f"{fetched.size} bytes; {error}"[:200], fetched.etag)
    return replace(fetched, pieces=pieces, size=size, packed=False)


def _is_gzip(encoding: bytes) -> bool:
    applied = [name for part in encoding.lower().split(b",") if (name := part.strip()) not in _NO_ENCODING]
    return applied in ([b"gzip"], [b"x-gzip"])
