"""Which errors of the Hub's clients are transient, and what a refusal means.

The Hub's statuses follow retry's table. Transport errors are those of the HTTP client that huggingface_hub uses, and
TransferBroken, which stands for all that hf_xet and hf_transfer raise: they name no status.
"""

import importlib
import json
import re
from dataclasses import replace

from r2_hf_assets.disk import disk_error
from r2_hf_assets.errors import AccessError
from r2_hf_assets.retry import STATUSES, Trouble, status_trouble

BAD_REQUEST, NOT_FOUND, RATE_LIMITED = 400, 404, 429
_HTTP_CLIENTS = {
    "httpx2": ("TransportError",),  # 2.x
    "httpx": ("TransportError",),  # 1.x
    "requests.exceptions": ("ConnectionError", "Timeout", "ChunkedEncodingError"),  # 0.x
}


class HeadMoved(Exception):
    """Somebody else has committed the same content meanwhile."""


class TransferBroken(ConnectionError):
    """hf_xet or hf_transfer failed; they say no more than a text."""


class NotVisibleYet(Exception):
    """A repo that was just made does not show yet."""


def classify(error: BaseException) -> Trouble | None:
    """Which errors of huggingface_hub may pass: statuses by retry's table, transport errors of its HTTP client.

    A 429 is a quota: of commits an hour, or of requests in five minutes.
    """
    from huggingface_hub.errors import HfHubHTTPError

    response = getattr(error, "response", None)
    if isinstance(error, HfHubHTTPError) and response is not None:
        trouble = status_trouble(response.status_code, response.headers)
        return trouble and replace(trouble, quota=response.status_code == RATE_LIMITED)
    if isinstance(error, NotVisibleYet):
        return Trouble("the new repo does not show yet")
    if isinstance(error, HeadMoved):
        return Trouble(STATUSES[412])
    if isinstance(error, json.JSONDecodeError):
        return Trouble("the Hub's answer can't be read")  # a proxy's page
    if isinstance(error, _transport_errors()):
        return Trouble(f"the Hub can't be reached ({type(error).__name__})")
    if disk_error(error, ""):
        return None
    # preupload wraps what an LFS transfer raised.
    if isinstance(error, RuntimeError) and error.__cause__ is not None:
        return classify(error.__cause__)
    if isinstance(error, ConnectionError | TimeoutError):
        return Trouble(f"the transfer broke off ({one_line(str(error)) or type(error).__name__})")
    return None


def one_line(text: str) -> str:
    """The first line, without the query of a URL, which may be signed."""
    return re.sub(r"\?\S*", "", (text.splitlines() or [""])[0])[:200]


def _transport_errors() -> tuple[type[BaseException], ...]:
    """Bases of the transport errors of the HTTP clients that releases of huggingface_hub have used."""
    found: list[type[BaseException]] = []
    for module, names in _HTTP_CLIENTS.items():
        try:
            client = importlib.import_module(module)
        except ImportError:
            continue
        found += [getattr(client, name) for name in names]
    return tuple(found)


def explain(error: BaseException, repo_id: str) -> AccessError | None:
    """A refusal by the Hub as one line that says what to do; None when the error is something else."""
    if isinstance(error, RuntimeError) and error.__cause__ is not None:
        return explain(error.__cause__, repo_id)
    status = status_of(error)
    if status is None:
        return None
    advice = {
        401: "the token is missing, wrong or revoked; set HF_TOKEN to a valid one",
        402: "the storage quota is used up; free space or upgrade the account",
        403: "the token may not write here; use one with write access to the repo",
        404: "there is no such repo; check HF_REPO_ID and that the token may see it",
    }.get(status, f"it answers HTTP {status}")
    return AccessError(f"the Hub refuses {repo_id}: {advice}")


def status_of(error: BaseException) -> int | None:
    """The HTTP status that the Hub answered; None when the error is something else."""
    from huggingface_hub.errors import HfHubHTTPError

    response = getattr(error, "response", None)
    return response.status_code if isinstance(error, HfHubHTTPError) and response is not None else None


def server_message(error: BaseException) -> str:
    """What the Hub says of a refusal, in one line."""
    return one_line(getattr(error, "server_message", None) or str(error))
