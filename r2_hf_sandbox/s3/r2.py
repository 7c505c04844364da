"""A strict stand-in for Cloudflare R2: a proxy in front of the S3 server that refuses what R2 refuses.

    with StrictR2(s3.endpoint_url, s3.access_key) as r2:
        ...  # a client against r2.endpoint_url, with the keys of the S3 server

Statuses, codes and limits are those of R2's documentation (S3 API compatibility, error codes, multipart limitations)
and of errors that its users reported. Where R2 became more lenient, the older refusal is kept: a client that passes
here passes there. The S3 server behind it checks signatures and preconditions; listings are in its order, not R2's.
"""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, unquote, urlsplit

from r2_hf_sandbox.s3.faults import S3Fault, S3Faults, S3Request

REGIONS = ("wnam", "enam", "weur", "eeur", "apac", "oc", "auto")
_ALIASES = ("", "us-east-1")  # of auto
KEY_ID_LENGTH = 32
MAX_KEY_BYTES = 1024
PART_BYTES = 5 * 2**20  # the least of any part but the last
_CHECKSUM = re.compile(r"x-amz-(trailer|sdk-checksum-algorithm|checksum-(?!mode))", re.IGNORECASE)
WRITE_INTERVAL_S = 1.0  # between two writes of a key


class StrictR2(S3Faults):
    """The proxy. `access_key` is the only key that it accepts; faults that were injected come first."""

    def __init__(self, upstream_url: str, access_key: str) -> None:
        self._access_key = access_key
        self._parts: dict[str, dict[int, int]] = defaultdict(dict)  # size by number, by upload
        self._written: dict[str, float] = {}  # by the monotonic clock
        super().__init__(upstream_url)

    def choose(self, request: S3Request) -> S3Fault | None:
        return super().choose(request) or self._refuse(request)

    def _refuse(self, request: S3Request) -> S3Fault | None:
        rules: tuple[Callable[[S3Request], Iterator[S3Fault]], ...]
        rules = (self._credential, _payload, _key, self._multipart, self._rate)
        return next((refusal for rule in rules for refusal in rule(request)), None)

    def _credential(self, request: S3Request) -> Iterator[S3Fault]:
        scope = re.search(r"Credential=([^/]*)/\d+/([^/]*)/s3/", request.headers.get("Authorization", ""))
        if scope is None:
            yield refusal(400, "InvalidArgument", "Authorization")
        elif scope[1] != self._access_key and len(scope[1]) != KEY_ID_LENGTH:
            length = f"Credential access key has length {len(scope[1])}, should be {KEY_ID_LENGTH}"
            yield refusal(400, "InvalidArgument", length)
        elif scope[1] != self._access_key:
            yield refusal(401, "Unauthorized", "Unauthorized")
        elif scope[2] not in (*REGIONS, *_ALIASES):
            named = f"The region name '{scope[2]}' is not valid. Must be one of: {', '.join(REGIONS)}"
            yield refusal(400, "InvalidRegionName", named)

    def _multipart(self, request: S3Request) -> Iterator[S3Fault]:
        query = parse_qs(urlsplit(request.path).query)
        if not (upload := query.get("uploadId", [""])[0]):
            return
        if request.method == "PUT":
            with self._lock:
                self._parts[upload][int(query["partNumber"][0])] = len(request.body)
        if request.method == "POST":
            with self._lock:
                sizes = [size for _, size in sorted(self._parts.pop(upload, {}).items())]
            yield from _uneven(sizes)

    def _rate(self, request: S3Request) -> Iterator[S3Fault]:
        path = urlsplit(request.path)
        if request.method != "PUT" or path.query or path.path.count("/") < 2:
            return  # no write of an object
        now = time.monotonic()
        with self._lock:
            last = self._written.get(path.path, -WRITE_INTERVAL_S)
            if now - last >= WRITE_INTERVAL_S:
                self._written[path.path] = now
                return
        yield refusal(429, "TooManyRequests", "Reduce your concurrent request rate for the same object.")


def refusal(status: int, code: str, message: str) -> S3Fault:
    """Return the response with this error."""
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return S3Fault("", status=status, body=f'<?xml version="1.0" encoding="UTF-8"?>{error}'.encode())


def _payload(request: S3Request) -> Iterator[S3Fault]:
    signed = request.headers.get("x-amz-content-sha256", "")
    if signed.endswith("-TRAILER"):
        yield refusal(401, "Unauthorized", "Unauthorized")  # misleading, and R2's
    elif signed.startswith("STREAMING-"):
        yield refusal(501, "NotImplemented", f"{signed} not implemented")
    for name, value in request.headers.items():
        if _CHECKSUM.match(name):
            yield refusal(501, "NotImplemented", f"Header '{name.lower()}' with value '{value}' not implemented")


def _key(request: S3Request) -> Iterator[S3Fault]:
    key = unquote(urlsplit(request.path).path, errors="surrogateescape").partition("/")[2].partition("/")[2]
    if len(key.encode(errors="surrogateescape")) > MAX_KEY_BYTES:
        yield refusal(400, "InvalidObjectName", "The specified object name is not valid.")


def _uneven(sizes: list[int]) -> Iterator[S3Fault]:
    *others, last = sizes or [0]
    if any(size < PART_BYTES for size in others):
        yield refusal(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.")
    elif len(set(others)) > 1 or any(size < last for size in others):
        yield refusal(400, "InvalidPart", "All non-trailing parts must have the same length.")
