"""Servers that receive messages: SMTP, and Slack's chat.postMessage. Each keeps what it takes, and refuses on request.

They run in threads of this process, on free loopback ports, until the `with` block ends.
"""

import json
import socketserver
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import partialmethod
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from r2_hf_sandbox.processes import LOOPBACK


@dataclass
class Mailbox:
    """The messages that a server took. `refuse`: its answer to the next messages, "" to take them."""

    url: str = ""
    mails: list[EmailMessage] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    posts: list[dict[str, str]] = field(default_factory=list)
    refuse: str = ""


@contextmanager
def smtp_server(certificate: Path | None = None) -> Iterator[Mailbox]:
    """A server without TLS, or smtps:// with a certificate; any login is accepted and kept."""
    box = Mailbox()

    class Session(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def handle(self) -> None:
            self.say("220 mailbox")
            for raw in self.rfile:
                verb = raw.split()[0].upper()
                if verb == b"QUIT":
                    return self.say("221 bye")
                if verb == b"EHLO":
                    self.say("250-mailbox")
                    self.say("250 AUTH PLAIN")
                elif verb == b"AUTH":
                    box.logins.append(b64decode(raw.split()[2]).decode())
                    self.say("235 welcome")
                elif verb == b"MAIL" and box.refuse:
                    self.say(box.refuse)
                elif verb == b"DATA":
                    self.say("354 go on")
                    lines = iter(self.rfile.readline, b".\r\n")
                    text = b"".join(line.removeprefix(b".").replace(b"\r\n", b"\n") for line in lines)
                    box.mails.append(message_from_bytes(text, policy=policy.default))
                    self.say("250 taken")
                else:
                    self.say("250 ok")

    server = socketserver.ThreadingTCPServer((LOOPBACK, 0), Session)
    if certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    with _serving(server) as port:
        box.url = f"smtp{'s' if certificate else ''}://{LOOPBACK}:{port}"
        yield box


@contextmanager
def slack_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    """Slack's API for every client that is made in the block."""
    from slack_sdk import WebClient

    box = Mailbox()

    class Request(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            kind = self.headers["Content-Type"] or ""
            sent: dict[str, Any] = json.loads(body) if "json" in kind else {k: v[0] for k, v in parse_qs(body).items()}
            answer: dict[str, Any] = {"ok": False, "error": box.refuse} if box.refuse else {"ok": True}
            if not box.refuse:
                box.posts.append({**sent, "path": self.path, "authorization": self.headers["Authorization"]})
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Write nothing."""

    with _serving(ThreadingHTTPServer((LOOPBACK, 0), Request)) as port:
        box.url = f"http://{LOOPBACK}:{port}/api/"
        monkeypatch.setattr(WebClient, "__init__", partialmethod(WebClient.__init__, base_url=box.url))
        yield box


@contextmanager
def _serving(server: socketserver.ThreadingTCPServer | ThreadingHTTPServer) -> Iterator[int]:
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    with server:
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
