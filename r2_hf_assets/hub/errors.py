"""Classify the errors of the Hub's clients: transient, or a refusal, which becomes one line with advice.

HTTP statuses follow retry's table. Transport errors are those of the HTTP client that the installed huggingface_hub
uses. hf_xet and hf_transfer raise text without a status, which is wrapped in TransferFailed.
"""

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from r2_hf_assets.disk import disk_error
from r2_hf_assets.errors import AccessError
from r2_hf_assets.retry import TransientError, transient_status

if TYPE_CHECKING:
    from httpx2 import Response

BAD_REQUEST, NOT_FOUND, CONFLICT, RATE_LIMITED = 400, 404, 409, 429
# huggingface_hub 2.x uses httpx2, 1.x httpx, 0.x requests.
_TRANSPORT_ERRORS = {("httpx2", "TransportError"), ("httpx", "TransportError")}
_TRANSPORT_ERRORS |= {("requests", name) for name in ("ConnectionError", "Timeout", "ChunkedEncodingError")}
_ADVICE = {
    401: "the token is missing, wrong or revoked; set HF_TOKEN to a valid one",
    402: "the storage quota is used up; free space or upgrade the account",
    403: "the token lacks a right; use one with write access to the repo",
    404: "the repo does not exist or is hidden; check HF_REPO_ID and that the token can read it",
}


class TransferFailed(ConnectionError):
    """hf_xet or hf_transfer failed."""


class NotVisibleYet(Exception):
    """A repo that was just created is not visible yet."""


class HeadReplaced(Exception):
    """The head that an attempt read does not exist any more: the history was squashed (amend/purge.py)."""


def revision_is_gone(error: BaseException) -> bool:
    """Return whether the Hub knows the repo and not the revision."""
    from huggingface_hub.errors import RevisionNotFoundError

    return isinstance(error, RevisionNotFoundError)


def classify(error: BaseException) -> TransientError | None:
    """Return the transient error, None for any other. A 429 is a quota: of commits or of requests."""
    if (response := _response_of(error)) is not None:
        transient = transient_status(response.status_code, response.headers)
        return transient and replace(transient, quota=response.status_code == RATE_LIMITED)
    if isinstance(error, NotVisibleYet):
        return TransientError("the new repo is not visible yet")
    if isinstance(error, HeadReplaced):
        return TransientError("the history was squashed meanwhile")
    if isinstance(error, json.JSONDecodeError):
        return TransientError("the Hub's response can't be read")  # a proxy's page
    if any((base.__module__.partition(".")[0], base.__name__) in _TRANSPORT_ERRORS for base in type(error).__mro__):
        return TransientError(f"the Hub can't be reached ({type(error).__name__})")
    if disk_error(error, ""):
        return None
    if isinstance(error, RuntimeError) and error.__cause__ is not None:
        return classify(error.__cause__)  # preupload_lfs_files wraps what an LFS transfer raised
    if isinstance(error, ConnectionError | TimeoutError):
        return TransientError(f"the transfer failed ({one_line(str(error)) or type(error).__name__})")
    return None


def explain(error: BaseException, repo_id: str) -> AccessError | None:
    """Return an error status of the Hub as one line with advice, None for any other error."""
    if isinstance(error, RuntimeError) and error.__cause__ is not None:
        return explain(error.__cause__, repo_id)
    if (status := status_of(error)) is None:
        return None
    if revision_is_gone(error):
        return AccessError(f"{repo_id}: the revision does not exist any more, perhaps by a purge; run it again")
    return AccessError(f"the Hub refuses {repo_id}: {_ADVICE.get(status, f'HTTP {status}')}")


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status of the Hub's response, None for an error without one."""
    response = _response_of(error)
    return None if response is None else response.status_code


def server_message(error: BaseException) -> str:
    """Return the error message of the Hub's response, in one line."""
    return one_line(getattr(error, "server_message", None) or str(error))


def one_line(text: str) -> str:
    """Return the first line, without the query of a URL, which may be signed."""
    return re.sub(r"\?\S*", "", (text.splitlines() or [""])[0])[:200]


def _response_of(error: BaseException) -> "Response | None":
    from huggingface_hub.errors import HfHubHTTPError

    return getattr(error, "response", None) if isinstance(error, HfHubHTTPError) else None
