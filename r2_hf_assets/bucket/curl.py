"""libcurl's event loop: transfers are added, and `step` moves all of them on and names those that ended.

libcurl says which sockets it waits for and until when; a selector does the waiting, so that `wake` can end it from
another thread and the number of sockets is not limited as select() limits it. Everything but `wake` belongs to one
thread.
"""

import contextlib
import selectors
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pycurl

from r2_hf_assets.settings import ca_bundle

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_INITIALS = frozenset(b"CcDdH")  # of the lines that `read_head` reads


def get_handle(config: Mapping[str, object], *, connect_s: float) -> Any:
    """A handle for signed GETs (S3's signature, version 4): set its URL and its functions, and add it to a loop.

    libcurl's own limit on a whole transfer is not set: its clock runs on while a transfer is paused.

    Args:
        config: of the obstore client of the bucket: the keys, the region, perhaps a session token.
        connect_s: longest time to connect.

    Raises:
        SettingsError: the file of authorities that the user names is not there.
    """
    handle = pycurl.Curl()
    handle.setopt(pycurl.AWS_SIGV4, f"aws:amz:{config['region']}:s3")
    handle.setopt(pycurl.USERNAME, config["access_key_id"])
    handle.setopt(pycurl.PASSWORD, config["secret_access_key"])
    if session_token := config.get("session_token"):
        handle.setopt(pycurl.HTTPHEADER, [f"x-amz-security-token: {session_token}"])
    handle.setopt(pycurl.CAINFO, ca_bundle())
    handle.setopt(pycurl.CONNECTTIMEOUT_MS, round(connect_s * 1000))
    # A connection each: with HTTP/2 all of them would share one, and its one window.
    handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    handle.setopt(pycurl.OPT_FILETIME, 1)
    handle.setopt(pycurl.NOSIGNAL, 1)
    handle.setopt(pycurl.BUFFERSIZE, 128 * 1024)
    return handle


class Head(NamedTuple):
    """What an answer's head says. `length` in bytes, -1 when it names none; `date` and `encoding` as they were sent."""

    status: int
    length: int
    date: bytes
    encoding: bytes


def read_head(lines: Iterable[bytes]) -> Head:
    """The head in these lines. While a body comes in, pycurl does not let a handle be asked for it."""
    status, length, date, encoding = 0, -1, b"", b""
    for line in lines:
        if line[0] not in _INITIALS:
            continue
        name, _, value = line.partition(b":")
        name = name.lower()
        if name == b"content-length":
            length = int(value) if value.strip().isdigit() else -1
        elif name == b"date":
            date = value.strip()
        elif name == b"content-encoding":
            encoding = value.strip()
        elif name.startswith(b"http/"):  # what stood before was a proxy's, or a 100
            status, length, date, encoding = int(line.split(None, 2)[1]), -1, b"", b""
    return Head(status, length, date, encoding)


class CurlLoop:
    """Runs up to `connections` transfers at a time. Call `close` at the end."""

    def __init__(self, connections: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)
        self._selector.register(self._woken, _READ)
        self._due: float | None = None
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self.add = self._multi.add_handle
        self.remove = self._multi.remove_handle

    def step(self, patience_s: float) -> list[tuple[Any, int, str]]:
        """Wait until something happens, `patience_s` at most, and move on what can move.

        Returns:
            (handle, error number of libcurl or 0, message) of the transfers that ended; they are still to be removed.
        """
        left = patience_s if self._due is None else min(patience_s, self._due - time.monotonic())
        for key, events in self._selector.select(max(0.0, left)):
            if key.fileobj is self._woken:
                self._woken.recv(4096)
                continue
            ready = (pycurl.CSELECT_IN if events & _READ else 0) | (pycurl.CSELECT_OUT if events & _WRITE else 0)
            self._multi.socket_action(key.fd, ready)
        if self._due is not None and time.monotonic() >= self._due:
            self._due = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        ended: list[tuple[Any, int, str]] = []
        more = 1
        while more:
            more, good, bad = self._multi.info_read()
            ended += [(handle, 0, "") for handle in good] + bad
        return ended

    def wake(self) -> None:
        """Let `step` return at once. From any thread."""
        with contextlib.suppress(BlockingIOError, OSError):  # it is being woken already, or it is closed
            self._waker.send(b"!")

    def close(self) -> None:
        """After the last handle was removed."""
        self._multi.close()
        self._selector.close()
        self._waker.close()
        self._woken.close()

    def _watch(self, what: int, fd: int, _multi: Any, _data: Any) -> None:
        events = (_READ if what & pycurl.POLL_IN else 0) | (_WRITE if what & pycurl.POLL_OUT else 0)
        known = fd in self._selector.get_map()
        if events and known:
            self._selector.modify(fd, events)
        elif events:
            self._selector.register(fd, events)
        elif known:
            self._selector.unregister(fd)

    def _set_timer(self, milliseconds: int) -> None:
        self._due = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000
