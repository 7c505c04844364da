"""A server that responds to every bucket request with 200, and records it."""

from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from r2_hf_assets.settings import BucketSettings

LISTING = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


class Listener(ThreadingHTTPServer):
    """`requests`: method, path, headers and body of each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []

    def settings(self, **more: Any) -> BucketSettings:
        return BucketSettings(f"http://127.0.0.1:{self.server_port}", "key", "secret", "podcasts", **more)


class Handler(BaseHTTPRequestHandler):
    server: Listener
    protocol_version = "HTTP/1.1"

    def respond(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.command, self.path, headers, sent))
        body = LISTING if self.command == "GET" and "list-type" in self.path else b""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", formatdate(usegmt=True))
        self.send_header("ETag", '"00000000000000000000000000000000"')
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = respond

    def log_message(self, *_: object) -> None: ...
