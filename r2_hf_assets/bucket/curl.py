"""Run libcurl's transfers in an event loop: `add` a handle, and `step` returns those that ended.

libcurl reports its sockets and its next deadline through callbacks, and a selector waits for them. `wake` interrupts
it from another thread; all other methods are called in one thread.
"""

import contextlib
import selectors
import socket
import time
from typing import Any

import pycurl

from r2_hf_assets.settings import BucketSettings, ca_bundle

CONNECT_TIMEOUT_S = 10
# Without a byte received; a large body may take longer.
READ_TIMEOUT_S = 30
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


def make_handle(r2: BucketSettings) -> Any:
    """Make a handle for GETs with an AWS version 4 signature. The caller sets its URL and callbacks.

    libcurl's limit on a whole transfer is not set, because it counts paused time.
    """
    handle = pycurl.Curl()
    handle.setopt(pycurl.AWS_SIGV4, f"aws:amz:{r2.region}:s3")
    handle.setopt(pycurl.USERNAME, r2.access_key_id)
    handle.setopt(pycurl.PASSWORD, r2.secret_access_key)
    if r2.session_token:
        handle.setopt(pycurl.HTTPHEADER, [f"x-amz-security-token: {r2.session_token}"])
    handle.setopt(pycurl.CAINFO, ca_bundle())
    handle.setopt(pycurl.CONNECTTIMEOUT, CONNECT_TIMEOUT_S)
    # With HTTP/2 all transfers would share one connection and its window.
    handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    handle.setopt(pycurl.OPT_FILETIME, 1)
    handle.setopt(pycurl.NOSIGNAL, 1)
    handle.setopt(pycurl.BUFFERSIZE, 128 * 1024)
    return handle


class CurlLoop:
    """An event loop that keeps up to `connections` connections open. Call `close` at the end."""

    def __init__(self, connections: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._selector.register(self._woken, _READ)
        self._due: float | None = None
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self.add = self._multi.add_handle
        self.remove = self._multi.remove_handle

    def step(self, timeout_s: float) -> list[tuple[Any, int, str]]:
        """Wait for an event, up to `timeout_s`, and handle it.

        Return (handle, libcurl error number or 0, message) of the transfers that ended; the caller removes them.
        """
        left = timeout_s if self._due is None else min(timeout_s, self._due - time.monotonic())
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
        """Make `step` return at once. Thread-safe."""
        with contextlib.suppress(OSError):  # a wake-up is pending, or the loop is closed
            self._waker.send(b"!")

    def close(self) -> None:
        """Close the loop. All handles must have been removed."""
        for closed in (self._multi, self._selector, self._waker, self._woken):
            closed.close()

    def _watch(self, what: int, fd: int, _multi: Any, _data: Any) -> None:
        events = (_READ if what & pycurl.POLL_IN else 0) | (_WRITE if what & pycurl.POLL_OUT else 0)
        known = fd in self._selector.get_map()
        if events:
            (self._selector.modify if known else self._selector.register)(fd, events)
        elif known:
            self._selector.unregister(fd)

    def _set_timer(self, milliseconds: int) -> None:
        self._due = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000
