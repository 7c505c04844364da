"""Fault injection and a log of requests for tests of the local Hub.

    POST   /_sandbox/faults     [{"method", "path_regex", "times", "skip", "status", "headers", "body", "after",
                                  "delay_s", "drop", "silence"}]
    DELETE /_sandbox/faults
    GET    /_sandbox/requests?since=N    {"next": M, "requests": [{"n", "method", "path", "query", "status", ...}]}

A fault applies to the next `times` matching requests, after `skip` others. With `status` it is the response. With
`after` the request is processed first, and the fault replaces its response. `drop` closes the connection without a
response. `silence` leaves it open without one, until the client closes it or the faults are cleared: "read" reads the
request's body, "unread" does not. A fault with none of these delays by `delay_s`. Authorization values are not logged.
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

from r2_hf_sandbox.faults import Fault, next_fault

LOG_LENGTH = 100_000
_POLL_S = 0.1  # for the end of a silent request's connection
LOGGED_HEADERS = ("range", "content-length", "content-type", "user-agent")


@dataclass
class HubFault(Fault):
    """A fault as it is injected by JSON."""

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
        return JSONResponse(self.body or {"error": "injected fault"}, self.status or 500, self.headers)


class FaultsAndLog:
    """ASGI middleware around the whole Hub, outermost so that `drop` reaches the server's connection."""

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
            fault = next_fault(self._faults, scope["method"], scope["path"])

        async def send_logged(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
            await send(message)

        async def discard(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry["done_status"] = message["status"]

        try:
            if fault and fault.delay_s:
                await asyncio.sleep(fault.delay_s)
            if fault is None or not (fault.drop or fault.status or fault.silence):
                await self._app(scope, receive, send_logged)
                return
            entry["fault"] = True
            if fault.after:
                await self._app(scope, receive, discard)
            elif not (fault.drop or fault.silence == "unread"):
                await _drain(receive)
            if fault.silence:
                await self._stay_silent(send)
            if fault.drop or fault.silence:
                _cut(send)
            else:
                await fault.response()(scope, receive, send_logged)
        finally:
            entry["seconds"] = round(time.monotonic() - started, 4)

    async def _stay_silent(self, send: Send) -> None:
        """Wait until the client closes the connection or the faults are cleared."""
        cleared = self._cleared
        while not (cleared.is_set() or _disconnected(send)):
            with suppress(TimeoutError):
                await asyncio.wait_for(cleared.wait(), _POLL_S)

    def _log_entry(self, scope: Scope) -> dict[str, Any]:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with self._lock:
            entry = {
                "n": self._next,
                "method": scope["method"],
                "path": scope["path"],
                # a signature is a credential
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
            faults = [HubFault(**fault) for fault in json.loads(await _drain(receive))]
        except (TypeError, ValueError) as error:
            known = ", ".join(field.name for field in fields(HubFault))
            return JSONResponse({"error": f"{error}; a fault has: {known}"}, 400)
        with self._lock:
            self._faults.extend(faults)
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
    """Abort the connection: `send` is a method of uvicorn's request cycle, which holds the transport."""
    send.__self__.transport.abort()  # type: ignore[attr-defined]


def _disconnected(send: Send) -> bool:
    """Whether the client has closed the connection. `receive` would read the body first."""
    return send.__self__.disconnected or send.__self__.transport.is_closing()  # type: ignore[attr-defined]
