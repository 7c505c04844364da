"""How long the Hub may be silent: a bound on every request, whichever library makes it.

huggingface_hub's session has no timeout, and some of its calls pass `timeout=None`, which is one. So the bounds are put
into each request as it goes out: by hooks of the HTTP client (httpx2 in 2.x, httpx in 1.x), by the adapters of requests
(0.x). HfApi, HfFileSystem, hf_hub_download and LFS uploads share that session. A timeout that a call names is kept.

Each of them bounds silence, not duration: it starts anew with every block that is sent or received, so a large upload
that flows may take as long as it needs. Blocks and answers count as progress (activity.py).

hf_xet and hf_transfer have native HTTP clients of their own: upload_xet.py and hf_transfer_child.py bound those.
"""

import importlib
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

from r2_hf_assets import activity

# Seconds; the keys are httpx's.
TIMEOUTS = {
    "connect": 30.0,  # TCP and TLS, together with a SYN that is sent again four times
    "read": 120.0,  # the Hub's own gateway answers 504 after 60 s; this is for an answer that does not come at all
    "write": 60.0,  # of one block of 64 kB: a line slower than 1 kB/s is none
    "pool": 120.0,  # for a connection that another thread uses; as long as that one may be silent
}

_RATE_LIMITED = 429
_bounding = threading.Lock()
_bounded = False


def bound_requests() -> None:
    """Bound every request of huggingface_hub's session in this process. Once: it closes the session that there is."""
    global _bounded
    with _bounding:
        if _bounded:
            return
        from huggingface_hub.utils import _http

        http: Any = _http
        if hasattr(http, "set_client_factory"):
            http.set_client_factory(partial(_bounded_client, http))
        else:
            http.configure_http_backend(partial(_bounded_session, http))
        _bounded = True


def _bounded_client(http: Any) -> Any:
    """huggingface_hub's own client, with hooks that bound what it sends. (httpx and httpx2)"""
    client = http.default_client_factory()
    byte_stream = importlib.import_module(type(client).__module__.partition(".")[0]).SyncByteStream

    class Counted(byte_stream):  # type: ignore[misc, valid-type]
        """A body whose blocks are progress."""

        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def __iter__(self) -> Iterator[bytes]:
            for block in self._stream:
                activity.advance()
                yield block

        def close(self) -> None:
            if hasattr(self._stream, "close"):
                self._stream.close()

    def bound(request: Any) -> None:
        activity.advance()
        named = {key: value for key, value in request.extensions.get("timeout", {}).items() if value is not None}
        request.extensions = {**request.extensions, "timeout": {**TIMEOUTS, **named}}
        request.stream = Counted(request.stream)

    def note(response: Any) -> None:
        activity.advance()
        if response.status_code == _RATE_LIMITED:
            # Else http_backoff sleeps as long as the Hub asks, where no stop and no log reaches it. A quota is
            # waited for in one place (retry.py).
            response.read()
            http.hf_raise_for_status(response)
        response.stream = Counted(response.stream)

    hooks = client.event_hooks
    client.event_hooks = {"request": [*hooks["request"], bound], "response": [*hooks["response"], note]}
    return client


def _bounded_session(http: Any) -> Any:
    """huggingface_hub's own session, with adapters that bound what they send. (requests)"""
    session = http._default_backend_factory()
    for adapter in session.adapters.values():
        adapter.send = partial(_send, adapter.send)
    return session


def _send(send: Any, request: Any, *, timeout: Any = None, **options: Any) -> Any:
    activity.advance()
    if hasattr(request.body, "read"):
        request.body = activity.Sent(request.body)
    # While it sends, requests knows no other timeout than that for connecting.
    bounds = (max(TIMEOUTS["connect"], TIMEOUTS["write"]), TIMEOUTS["read"])
    answer = send(request, timeout=timeout or bounds, **options)
    activity.advance()
    return answer
