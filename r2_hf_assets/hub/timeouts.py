"""Set a timeout on every request of huggingface_hub's session, and count its blocks as progress.

The session has no timeout, and some calls pass `timeout=None`. So timeouts are added to each request as it is sent: by
hooks of the HTTP client (httpx2 in 2.x, httpx in 1.x), by the adapters of requests (0.x). HfApi, HfFileSystem,
hf_hub_download and LFS uploads share the session. A timeout that a call passes is kept.

A timeout bounds a stall, not a duration: it restarts with every block. hf_xet and hf_transfer have their own HTTP
clients, which upload_xet.py and upload_files.py bound.
"""

import importlib
from collections.abc import Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from r2_hf_assets import activity
from r2_hf_assets.hub.errors import RATE_LIMITED

if TYPE_CHECKING:
    from httpx2 import Client, Request, Response

# In seconds, by httpx's names.
TIMEOUTS = {
    "connect": 30.0,  # TCP and TLS, with four retransmissions of a SYN
    "read": 120.0,  # the Hub's gateway responds 504 after 60 s
    "write": 60.0,  # for a block of 64 kB
    "pool": 120.0,  # for a connection in use, which may stall that long
}


@cache
def add_timeouts() -> None:
    """Add timeouts to huggingface_hub's session, once a process: it closes the existing session."""
    from huggingface_hub.utils import _http

    http: Any = _http
    if hasattr(http, "set_client_factory"):
        http.set_client_factory(_client_with_timeouts)
    else:
        http.configure_http_backend(partial(_session_with_timeouts, http._default_backend_factory))


def _client_with_timeouts() -> "Client":
    """Return huggingface_hub's client (httpx or httpx2) with hooks that add timeouts."""
    from huggingface_hub.utils import hf_raise_for_status
    from huggingface_hub.utils._http import default_client_factory

    client: Client = default_client_factory()
    byte_stream = importlib.import_module(type(client).__module__.partition(".")[0]).SyncByteStream

    class ProgressStream(byte_stream):  # type: ignore[misc, valid-type]
        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def __iter__(self) -> Iterator[bytes]:
            for block in self._stream:
                activity.advance()
                yield block

        def close(self) -> None:
            if hasattr(self._stream, "close"):
                self._stream.close()

    def on_request(request: "Request") -> None:
        activity.advance()
        passed = {name: value for name, value in request.extensions.get("timeout", {}).items() if value is not None}
        request.extensions = {**request.extensions, "timeout": {**TIMEOUTS, **passed}}
        request.stream = ProgressStream(request.stream)

    def on_response(response: "Response") -> None:
        activity.advance()
        if response.status_code == RATE_LIMITED:
            # Else http_backoff sleeps for Retry-After within the call, unlogged, also when the run is terminated.
            response.read()
            hf_raise_for_status(response)
        response.stream = ProgressStream(response.stream)

    hooks = client.event_hooks
    client.event_hooks = {"request": [*hooks["request"], on_request], "response": [*hooks["response"], on_response]}
    return client


def _session_with_timeouts(make_session: Any) -> Any:
    """Return huggingface_hub's session of requests with adapters that add timeouts."""
    session = make_session()
    for adapter in session.adapters.values():
        adapter.send = partial(_send, adapter.send)
    return session


def _send(send: Any, request: Any, *, timeout: Any = None, **options: Any) -> Any:
    activity.advance()
    if hasattr(request.body, "read"):
        request.body = activity.ProgressFile(request.body)
    # requests applies the timeout for connecting also while it sends.
    default = (max(TIMEOUTS["connect"], TIMEOUTS["write"]), TIMEOUTS["read"])
    response = send(request, timeout=timeout or default, **options)
    activity.advance()
    return response
