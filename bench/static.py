"""An HTTP server of minimal CPU cost: GETs and HEADs of objects from one packed file, by sendfile.

`python -m bench.static FOLDER` prints its URL and serves until its standard input ends. FOLDER holds `objects`, the
concatenated bodies, and `index.json`: offset, length and ETag by the path of a URL (`/bucket/key`). One thread with
epoll, no file opened for a request, no copy of a body. Signatures and conditions are ignored.
"""

import hashlib
import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterable
from email.utils import formatdate
from pathlib import Path

_END = b"\r\n\r\n"
_READ_BYTES = 64 * 1024


def pack(folder: Path, bucket: str, objects: Iterable[tuple[str, bytes]]) -> None:
    """Write FOLDER for (key, body) pairs."""
    folder.mkdir(parents=True)
    index, offset = {}, 0
    with (folder / "objects").open("wb") as file:
        for key, body in objects:
            file.write(body)
            index[f"/{bucket}/{key}"] = (offset, len(body), etag(body))
            offset += len(body)
    (folder / "index.json").write_text(json.dumps(index))


def etag(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


class _Server:
    def __init__(self, folder: Path) -> None:
        date = formatdate(time.time(), usegmt=True)
        head = f"HTTP/1.1 200 OK\r\nDate: {date}\r\nLast-Modified: {date}\r\nContent-Length: "
        index = json.loads((folder / "index.json").read_text())
        self._index = {
            path.encode(): (f'{head}{length}\r\nETag: "{tag}"\r\n\r\n'.encode(), offset, offset + length)
            for path, (offset, length, tag) in index.items()
        }
        self._objects = os.open(folder / "objects", os.O_RDONLY)
        self._epoll = select.epoll()
        self._connections: dict[int, socket.socket] = {}
        self._requests: dict[int, bytes] = {}  # incomplete requests
        self._bodies: dict[int, tuple[int, int]] = {}  # unsent ranges of bodies
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        listener, stdin = self._listener.fileno(), sys.stdin.fileno()
        for number in (listener, stdin):
            self._epoll.register(number, select.EPOLLIN)
        while True:
            for number, _ in self._epoll.poll():
                if number == stdin:
                    return
                if number == listener:
                    self._accept()
                    continue
                try:
                    (self._send if number in self._bodies else self._receive)(number)
                except ConnectionError:
                    self._close(number)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[connection.fileno()] = connection
        self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _receive(self, number: int) -> None:
        data = self._connections[number].recv(_READ_BYTES)
        if not data:
            self._close(number)
            return
        request = self._requests.pop(number, b"") + data
        if not request.endswith(_END):  # clients do not pipeline, so nothing follows a request
            self._requests[number] = request
            return
        method, path, _ = request.split(b" ", 2)
        head, start, end = self._index.get(path, (_NOT_FOUND, 0, 0))
        if method == b"HEAD":
            end = start
        self._connections[number].send(head, socket.MSG_MORE if end > start else 0)
        self._bodies[number] = (start, end)
        self._send(number, first=True)

    def _send(self, number: int, first: bool = False) -> None:
        start, end = self._bodies[number]
        while start < end:
            try:
                start += os.sendfile(number, self._objects, start, end - start)
            except BlockingIOError:
                self._bodies[number] = (start, end)
                if first:
                    self._epoll.modify(number, select.EPOLLOUT)
                return
        del self._bodies[number]
        if not first:
            self._epoll.modify(number, select.EPOLLIN)

    def _close(self, number: int) -> None:
        self._bodies.pop(number, None)
        self._requests.pop(number, None)
        self._connections.pop(number).close()


_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def main() -> None:
    server = _Server(Path(sys.argv[1]))
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    server.run()


if __name__ == "__main__":
    main()
