"""The slow line forwards bytes unchanged, with bounded buffers. Its speed is not tested."""

import random
import socket
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.line import open_line, received

_BODY = random.Random(1).randbytes(3_000_000)
_MORE_THAN_BUFFERS = 256 * 1024 * 1024  # of kernel and proxy for one connection


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(("delay", "rate"), [(0.0, 0.0), (0.01, 0.0), (0.0, 50e6), (0.01, 50e6)])
def test_bytes_are_forwarded_unchanged_over_many_connections(echo: str, delay: float, rate: float) -> None:
    with open_line(delay_s=delay, rate=rate) as line:
        line.connect(echo)

        def post(size: int) -> bool:
            with urllib.request.urlopen(urllib.request.Request(line.url, data=_BODY[:size])) as response:
                return response.read() == _BODY[:size]

        sizes = [1, 1000, 300_000, len(_BODY)] * 4
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(post, sizes))
        assert sum(sizes) < received(line.counts) < sum(sizes) * 1.1


def test_a_client_that_does_not_read_blocks_the_server() -> None:
    sent = threading.Event()

    def flood(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(2)
            connection.recv(1)
            try:
                connection.sendall(bytes(_MORE_THAN_BUFFERS))
            except TimeoutError:
                sent.set()

    with socket.create_server(("127.0.0.1", 0)) as listener, open_line() as line:
        server = threading.Thread(target=flood, args=(listener,), daemon=True)
        server.start()
        line.connect(f"http://127.0.0.1:{listener.getsockname()[1]}")
        host, _, port = line.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"x")
            server.join()
            assert sent.is_set() and 0 < received(line.counts) < _MORE_THAN_BUFFERS
