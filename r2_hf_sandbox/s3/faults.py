"""A proxy in front of the S3 server that injects faults.

    with S3Faults(sandbox.s3.endpoint_url) as proxy:
        proxy.inject(S3Fault("/processed/.*mp3", status=503, code="SlowDown", times=3))
        ...  # run the product against proxy.endpoint_url

It runs as threads of this process, on a free loopback port. Requests are forwarded unchanged, with the Host header
that SeaweedFS checks signatures against.
"""

import contextlib
import http.client
import re
import socket
import struct
import threading
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from r2_hf_sandbox.faults import Fault, next_fault
from r2_hf_sandbox.processes import LOOPBACK, free_port

FOR_EVER = 2**31
_UPSTREAM_TIMEOUT_S = 60.0
_POLL_S = 0.02

Kind = Literal["status", "reset", "stall", "truncate", "wrong", "delay"]


@dataclass
class S3Fault(Fault):
    """A fault; `path_regex` is searched in path and query, "/bucket/processed/en?list-type=2".

    Attributes:
        kind: "status" responds `status` with S3's XML for `code`, or `body`; "reset" resets the connection; "stall"
            sends half the body and then nothing; "truncate" half the body and closes; "wrong" other bytes of the same
            length; "delay" serves after `delay_s`.
        in_turn: such requests are delayed one after the other, so together they are as slow as one connection.
        after: for "status" and "reset": the server processes the request first.
    """

    kind: Kind = "status"
    status: int = 500
    code: str = "InternalError"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    after: bool = False
    delay_s: float = 0.0
    in_turn: bool = False

    def error_body(self) -> bytes:
        if self.body is not None:
            return self.body
        error = f"<Error><Code>{self.code}</Code><Message>injected fault</Message></Error>"
        return f'<?xml version="1.0" encoding="UTF-8"?>{error}'.encode()


@dataclass(frozen=True)
class S3Request:
    """A request as it arrived; names of headers may have any case."""

    method: str
    path: str  # and query
    headers: Message
    body: bytes = field(repr=False)


class S3Faults:
    """The proxy, as a context manager stopped at the end of the block."""

    def __init__(self, upstream_url: str, port: int | None = None) -> None:
        self.upstream = urlsplit(upstream_url).netloc
        self.port = port or free_port()
        self.endpoint_url = f"http://{LOOPBACK}:{self.port}"
        self.requests: list[tuple[str, str]] = []  # (method, path and query), faulty ones too
        self._faults: list[S3Fault] = []
        self._lock = threading.Lock()
        self.turn = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self.closing = threading.Event()
        self.listen()

    def inject(self, *faults: S3Fault) -> None:
        with self._lock:
            self._faults.extend(faults)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def count(self, path_regex: str, method: str | None = None) -> int:
        """Return the number of matching requests so far."""
        with self._lock:
            return sum(method in (None, m) and re.search(path_regex, path) is not None for m, path in self.requests)

    def listen(self) -> None:
        """Accept connections again, at the same address."""
        self.closing = threading.Event()
        self._listener = socket.create_server((LOOPBACK, self.port), backlog=512)
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener, self.closing), daemon=True)
        self._acceptor.start()

    def refuse(self) -> None:
        """Reset every connection and refuse new ones, until `listen`. Returns when no thread or socket is left."""
        self.closing.set()
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            self._listener.close()
        if self._acceptor is not None:
            self._acceptor.join()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            reset(connection)
        for thread in connections.values():
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()

    def _accept(self, listener: socket.socket, closing: threading.Event) -> None:
        while not closing.is_set():
            try:
                connection, address = listener.accept()
            except OSError:
                return
            # Head and body are sent separately: Nagle's algorithm would delay the body by 40 ms.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(connection, address), daemon=True)
            with self._lock:
                self._connections[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket, address: Any) -> None:
        try:
            with contextlib.suppress(OSError, ValueError):
                _Handler(connection, address, SimpleNamespace(proxy=self, closing=self.closing))  # type: ignore[arg-type]
        finally:
            with self._lock:
                self._connections.pop(connection, None)
            connection.close()

    def choose(self, request: "S3Request") -> S3Fault | None:
        """Log a request and return its fault."""
        with self._lock:
            self.requests.append((request.method, request.path))
            return next_fault(self._faults, request.method, request.path)


class _Handler(BaseHTTPRequestHandler):
    """One client connection, with its own connection to the server."""

    protocol_version = "HTTP/1.1"
    upstream: http.client.HTTPConnection | None = None
    timeout = None

    def handle_request(self) -> None:
        proxy: S3Faults = self.server.proxy  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = proxy.choose(S3Request(self.command, self.path, self.headers, body))
        if fault and fault.delay_s:
            with proxy.turn if fault.in_turn else contextlib.nullcontext():
                if not self._is_disconnected():
                    self.server.closing.wait(fault.delay_s)  # type: ignore[attr-defined]
        if fault is None or fault.kind == "delay":
            self._respond(*self._forward(proxy.upstream, body))
        elif fault.kind in ("status", "reset"):
            if fault.after:
                self._forward(proxy.upstream, body)
            if fault.kind == "reset":
                self.close_connection = True
                reset(self.connection)
            else:
                headers = {"Content-Type": "application/xml", **fault.headers}
                self._respond(fault.status, headers, fault.error_body())
        else:
            self._damage(fault.kind, *self._forward(proxy.upstream, body))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request

    def _forward(self, upstream: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self.upstream is None:
            self.upstream = http.client.HTTPConnection(upstream, timeout=_UPSTREAM_TIMEOUT_S)
        self.upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("connection", "expect"):  # they concern this connection alone
                self.upstream.putheader(name, value)
        self.upstream.endheaders(body or None)
        response = self.upstream.getresponse()
        data = response.read()
        dropped = ("connection", "transfer-encoding", "date")
        return response.status, {n: v for n, v in response.getheaders() if n.lower() not in dropped}, data

    def _send_head(self, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "server"):
                self.send_header(name, value)
        if self.command == "HEAD" and "Content-Length" in headers:
            self.send_header("Content-Length", headers["Content-Length"])
        elif status != http.client.NO_CONTENT:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _respond(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self._send_head(status, headers, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _damage(self, kind: str, status: int, headers: dict[str, str], body: bytes) -> None:
        if kind == "wrong":
            self._respond(status, headers, bytes(byte ^ 0x15 for byte in body))
            return
        self._send_head(status, headers, len(body))
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        if kind == "stall":
            self._wait_for_disconnect()
        self.close_connection = True

    def _is_disconnected(self) -> bool:
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False

    def _wait_for_disconnect(self) -> None:
        self.connection.settimeout(_POLL_S)
        while not self.server.closing.is_set():  # type: ignore[attr-defined]
            try:
                if not self.connection.recv(1, socket.MSG_PEEK):
                    return
            except TimeoutError:
                continue
            self.server.closing.wait(_POLL_S)  # type: ignore[attr-defined]

    def finish(self) -> None:
        if self.upstream is not None:
            self.upstream.close()
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def reset(connection: socket.socket) -> None:
    """Close a connection with RST instead of FIN, so that the peer gets ECONNRESET."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
    connection.close()
