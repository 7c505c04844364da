"""What a try of a GET has come to: an object, its absence, a refusal, or trouble that may pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pycurl

from r2_hf_assets.bucket import answers
from r2_hf_assets.errors import AccessError
from r2_hf_assets.retry import Trouble

OK = 200
_ERROR_BYTES = 64 * 1024  # of an error's body; what it says stands at its beginning
# What libcurl's error numbers mean to people.
_WORDS = {
    pycurl.E_COULDNT_RESOLVE_HOST: "no connection",
    pycurl.E_COULDNT_CONNECT: "no connection",
    pycurl.E_OPERATION_TIMEDOUT: "silence",
    pycurl.E_PARTIAL_FILE: "the connection broke",
    pycurl.E_GOT_NOTHING: "the connection broke",
    pycurl.E_SEND_ERROR: "the connection broke",
    pycurl.E_RECV_ERROR: "the connection broke",
}


@dataclass(frozen=True, slots=True)
class Fetched:
    """An object's body, in pieces, its size in bytes, and when it was last written."""

    pieces: Sequence[bytes]
    size: int
    last_modified: datetime

    def body(self) -> bytes:
        """The pieces as one."""
        return b"".join(self.pieces)


def judge(
    handle: Any,
    what: str,
    pieces: Sequence[bytes],
    number: int,
    message: str,
    *,
    listing: Callable[[bytes], Any] | None = None,
) -> Any:
    """Judge a try that is over; None: there is no such object.

    Args:
        handle: the pycurl handle, to be asked for the answer's head.
        what: names the question in errors.
        number, message: libcurl's error, 0 when there was none.
        listing: the bucket itself was asked, and this reads its answer: what it holds, or Trouble. It has no time, and
            may have no length: libcurl knows whether it came whole.

    Returns:
        Fetched, or what `listing` reads; Trouble; None.

    Raises:
        AccessError: the credentials were refused, or there is no such bucket.
    """
    if number == pycurl.E_WRITE_ERROR:
        raise RuntimeError(f"{what}: a piece of the body could not be kept")
    if number:
        return answers.no_proper_answer(_WORDS.get(number) or message or f"libcurl error {number}")
    status = handle.getinfo(pycurl.RESPONSE_CODE)
    if status != OK:
        return _without_body(
            handle, what, status, answers.error_code(b"".join(pieces)[:_ERROR_BYTES]), listing is not None
        )
    if listing:
        return listing(b"".join(pieces))
    size = sum(map(len, pieces))
    length, written = handle.getinfo(pycurl.CONTENT_LENGTH_DOWNLOAD_T), handle.getinfo(pycurl.INFO_FILETIME)
    if length < 0 or written < 0:
        return answers.no_proper_answer("no length or no time in its head")
    if size != length:
        return Trouble("the body ended early")
    return Fetched(pieces, size, datetime.fromtimestamp(written, UTC))


def _without_body(handle: Any, what: str, status: int, code: str, listing: bool) -> Trouble | None:
    if answers.missing(status, code) and not listing:
        return None
    if refused := answers.refusal(status, code):
        raise AccessError(f"{what}: {refused}")
    return answers.passing(status, code, handle.getinfo(pycurl.RETRY_AFTER))
