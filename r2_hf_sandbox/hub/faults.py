"""Trouble on order, and a log of requests: the seam by which tests make the local Hub fail. The real Hub has neither.

    POST   /_sandbox/faults     [{"method", "path_regex", "times", "skip", "status", "headers", "body", "after",
                                  "delay_s", "drop", "silence"}]
    DELETE /_sandbox/faults
    GET    /_sandbox/requests?since=N    {"next": M, "requests": [{"n", "method", "path", "query", "status", ...}]}

A fault answers the next `times` requests that match (after letting `skip` of them pass). With `after` the Hub does the
work first, so the answer is a lie about work that was done. With `drop` the connection is cut without an answer. With
`silence` it stays open and no answer comes: "read" takes the request's body, "unread" does not. It ends when the client
closes the connection, or with DELETE. A fault with none of these only waits `delay_s`. The Authorization value is
logged nowhere.
"""

import asyncio
import json
import re
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from r2_hf_sandbox.faults import Fault, take_next

LOG_LENGTH = 100_000
_LOOK_S = 0.1  # how soon a silent request notices that its client is gone
LOGGED_HEADERS = ("range", "content-length", "content-type", "user-agent")


@dataclass
class HubFault(Fault):
    """One kind of trouble, as it is ordered by JSON."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    after: bool = False
    delay_s: float = 0.0
    drop: bool = False
    silence: str = ""

    def __post_init__(self) -> None:
        if self.silence not in ("", "read", "unread"):
            raise ValueError(f'silence is "read" or "unread", not {self.silence!r}')

    def response(self) -> Response:
        if isinstance(self.body, str):
            return Response(self.body, self.status or 500, self.headers)
        return JSONResponse(self.body or {"error": "trouble on order"}, self.status or 500, self.headers)


class FaultsAndLog:
    """ASGI middleware around the whole Hub. Outermost, so that `drop` reaches the server's own connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._faults: list[HubFault] = []
        self._log: deque[dict[str, Any]] = deque(maxlen=LOG_LENGTH)
        self._next = 0
        self._lock = threading.Lock()
        self._cleared = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == "/_sandbox/faults":
            await (await self._admin_faults(scope, receive))(scope, receive, send)
        elif scope["path"] == "/_sandbox/requests":
            await self._admin_log(scope)(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        entry, started = self._log_entry(scope), time.monotonic()
        with self._lock:
            fault = take_next(self._faults, scope["method"], scope["path"])

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
            await send(message)

        async def nowhere(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry["done_status"] = message["status"]

        try:
            if fault and fault.delay_s:
                await asyncio.sleep(fault.delay_s)
            if fault is None or not (fault.drop or fault.status or fault.silence):
                await self._app(scope, receive, noting)
                return
            entry["fault"] = True
            if fault.after:
                await self._app(scope, receive, nowhere)
            elif not (fault.drop or fault.silence == "unread"):
                await _drain(receive)
            if fault.silence:
                await self._stay_silent(send)
            if fault.drop or fault.silence:
                _cut(send)
            else:
                await fault.response()(scope, receive, noting)
        finally:
            entry["seconds"] = round(time.monotonic() - started, 4)

    async def _stay_silent(self, send: Send) -> None:
        """Until the client closes the connection, or the faults are cleared."""
        cleared = self._cleared
        while not (cleared.is_set() or _disconnected(send)):
            with suppress(TimeoutError):
                await asyncio.wait_for(cleared.wait(), _LOOK_S)

    def _log_entry(self, scope: Scope) -> dict[str, Any]:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with self._lock:
            entry = {
                "n": self._next,
                "method": scope["method"],
                "path": scope["path"],
                # signatures are secrets of a kind
                "query": re.sub(r"\b(sig)=[^&]*", r"\1=-", scope["query_string"].decode("latin-1")),
                "status": None,
                "headers": {name: headers[name] for name in LOGGED_HEADERS if name in headers},
                "authorized": "authorization" in headers,
            }
            self._next += 1
            self._log.append(entry)
        return entry

    async def _admin_faults(self, scope: Scope, receive: Receive) -> Response:
        if scope["method"] == "DELETE":
            with self._lock:
                self._faults.clear()
            self._cleared.set()
            self._cleared = asyncio.Event()
            return JSONResponse({})
        try:
            wanted = [HubFault(**fault) for fault in json.loads(await _drain(receive))]
        except (TypeError, ValueError) as error:
            known = ", ".join(field.name for field in fields(HubFault))
            return JSONResponse({"error": f"{error}; a fault has: {known}"}, 400)
        with self._lock:
            self._faults.extend(wanted)
        return JSONResponse({"faults": len(self._faults)})

    def _admin_log(self, scope: Scope) -> Response:
        since = int(parse_qs(scope["query_string"].decode()).get("since", ["0"])[0])
        with self._lock:
            shown = [dict(entry) for entry in self._log if entry["n"] >= since]
            return JSONResponse({"next": self._next, "requests": shown})


async def _drain(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _cut(send: Send) -> None:
    """Close the connection without a byte: `send` is a method of uvicorn's request cycle, which holds the transport."""
    send.__self__.transport.abort()  # type: ignore[attr-defined]


def _disconnected(send: Send) -> bool:
    """Whether the client has closed the connection. `receive` would tell it too, but it reads the body first."""
    return send.__self__.disconnected or send.__self__.transport.is_closing()  # type: ignore[attr-defined]
