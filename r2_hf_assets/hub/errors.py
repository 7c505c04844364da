"""Classify the errors of the Hub's clients: transient, or a refusal, which becomes one line with advice.

HTTP statuses follow retry's table. Transport errors are those of the HTTP client that the installed huggingface_hub
uses; hf_xet and hf_transfer raise text without a status, which is wrapped in TransferBroken.
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

BAD_REQUEST, NOT_FOUND, RATE_LIMITED = 400, 404, 429
# httpx2 serves huggingface_hub 2.x, httpx 1.x, requests 0.x.
_TRANSPORT_ERRORS = {("httpx2", "TransportError"), ("httpx", "TransportError")}
_TRANSPORT_ERRORS |= {("requests", name) for name in ("ConnectionError", "Timeout", "ChunkedEncodingError")}
_ADVICE = {
    401: "the token is missing, wrong or revoked; set HF_TOKEN to a valid one",
    402: "the storage quota is used up; free space or upgrade the account",
    403: "the token may not write here; use one with write access to the repo",
    404: "there is no such repo; check HF_REPO_ID and that the token may see it",
}


class TransferBroken(ConnectionError):
    """hf_xet or hf_transfer failed."""


class NotVisibleYet(Exception):
    """The Hub does not show a repo that was just created."""


def classify(error: BaseException) -> TransientError | None:
    """Return why an error is transient, None when it is not. A 429 is a quota: of commits or of requests."""
    if (response := _response_of(error)) is not None:
        trouble = transient_status(response.status_code, response.headers)
        return trouble and replace(trouble, quota=response.status_code == RATE_LIMITED)
    if isinstance(error, NotVisibleYet):
        return TransientError("the new repo does not show yet")
    if isinstance(error, json.JSONDecodeError):
        return TransientError("the Hub's answer can't be read")  # a proxy's page
    if any((base.__module__.partition(".")[0], base.__name__) in _TRANSPORT_ERRORS for base in type(error).__mro__):
        return TransientError(f"the Hub can't be reached ({type(error).__name__})")
    if disk_error(error, ""):
        return None
    if isinstance(error, RuntimeError) and error.__cause__ is not None:
        return classify(error.__cause__)  # preupload_lfs_files wraps what an LFS transfer raised
    if isinstance(error, ConnectionError | TimeoutError):
        return TransientError(f"the transfer broke off ({one_line(str(error)) or type(error).__name__})")
    return None


def explain(error: BaseException, repo_id: str) -> AccessError | None:
    """Return a refusal by the Hub as one line with advice, None when the error is something else."""
    if isinstance(error, RuntimeError) and error.__cause__ is not None:
        return explain(error.__cause__, repo_id)
    if (status := status_of(error)) is None:
        return None
    return AccessError(f"the Hub refuses {repo_id}: {_ADVICE.get(status, f'it answers HTTP {status}')}")


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status of the Hub's response, None when the error is something else."""
    response = _response_of(error)
    return None if response is None else response.status_code


def server_message(error: BaseException) -> str:
    """Return the Hub's message of a refusal, in one line."""
    return one_line(getattr(error, "server_message", None) or str(error))


def one_line(text: str) -> str:
    """Return the first line, without the query of a URL, which may be signed."""
    return re.sub(r"\?\S*", "", (text.splitlines() or [""])[0])[:200]


def _response_of(error: BaseException) -> "Response | None":
    from huggingface_hub.errors import HfHubHTTPError

    return getattr(error, "response", None) if isinstance(error, HfHubHTTPError) else None
