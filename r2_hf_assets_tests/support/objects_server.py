"""An HTTP server for a bucket's objects that delays, alters, breaks or withholds responses as a test requires.

It ignores signatures. A HEAD gets the response to a GET without its body. It runs in threads of this process, on a free
loopback port, until the `with` block ends.
"""

import hashlib
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.settings import BucketSettings

BUCKET = "speech"
WRITTEN = 1_700_000_000  # last write of every object
ENDLESS_BYTES = 200 * 2**20


@dataclass
class Response:
    """A response. After `sent` bytes of the body the connection is closed (None: all are sent, and it stays open).

    `endless` is repeated behind the body until the client disconnects or ENDLESS_BYTES are sent. A header of "" is left
    out.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None
    endless: bytes = b""
    drip_s: float = 0.0  # seconds between two bytes


def etag(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def error(status: int, code: str) -> Response:
    return Response(status, f'<?xml version="1.0"?><Error><Code>{code}</Code></Error>'.encode())


Rule = Callable[[str, int], Response | None]


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Ignore clients that disconnect."""


class ObjectsServer:
    """Serves `objects`. `rule(key, n)` returns the response to the n-th request of a key, from 1; None is the default.

    The key of a request to the bucket itself is its query: "?list-type=2&prefix=". With a `certificate` (a PEM file
    with its key) the server uses https.
    """

    def __init__(
        self, objects: Mapping[str, bytes], rule: Rule = lambda key, count: None, certificate: Path | None = None
    ) -> None:
        self.objects, self.rule = dict(objects), rule
        self.requests: Counter[str] = Counter()
        self.connections = 0
        self.endless_bytes = 0  # sent of endless bodies
        self._lock = threading.Lock()
        self._server = _Quiet(("127.0.0.1", 0), self._handler())
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self._server.server_address[1]}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )

    def bucket(self, workers: int = 8) -> Bucket:
        return Bucket(BucketSettings(self.url, "key", "secret", BUCKET, workers=workers))

    def _respond(self, key: str) -> Response:
        with self._lock:
            self.requests[key] += 1
            count = self.requests[key]
        if response := self.rule(key, count):
            return response
        return Response(200, self.objects[key]) if key in self.objects else error(404, "NoSuchKey")

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                server.connections += 1
                super().setup()

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                key = unquote(url.path).removeprefix(f"/{BUCKET}").removeprefix("/") or f"?{url.query}"
                response = server._respond(key)
                headers = {"Content-Length": str(len(response.body)), "Last-Modified": formatdate(WRITTEN, usegmt=True)}
                headers["Date"] = formatdate(usegmt=True)
                if response.status == 200:
                    headers["ETag"] = f'"{etag(response.body)}"'
                self.send_response_only(response.status)
                for name, value in {**headers, **response.headers}.items():
                    if value:
                        self.send_header(name, value)
                self.end_headers()
                if self.command == "HEAD":
                    return
                body = response.body if response.sent is None else response.body[: response.sent]
                size = 1 if response.drip_s else len(body) or 1
                for start in range(0, len(body), size):
                    self.wfile.write(body[start : start + size])
                    time.sleep(response.drip_s)
                self.close_connection = response.sent is not None or bool(response.endless)
                while response.endless and server.endless_bytes < ENDLESS_BYTES:
                    self.wfile.write(response.endless)
                    server.endless_bytes += len(response.endless)

            do_HEAD = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.005)
