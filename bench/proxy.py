"""A TCP proxy that simulates a slow line: a delay before every response, and a rate limit in each direction.

`python -m bench.proxy DELAY RATE COUNTS` prints its own URL, reads the server's URL from the first line of its
standard input (so that a server can start with the proxy's URL), prints a line when it listens, and runs until that
input ends. DELAY, in seconds, holds each response from its first byte on. RATE is in bytes/s for all connections
together, in each direction, 0 for no limit. COUNTS is a file of two native 64-bit numbers, updated at once: bytes from
clients, bytes to clients.

Data above the rate waits in a queue, as does a delayed response. Its connection is not read meanwhile, nor while the
other side's buffer is full, so a connection holds one read (up to 256 kB) and a write buffer, and the kernel applies
back-pressure to the sender. Requests are not delayed.
"""

import asyncio
import contextlib
import mmap
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_BURST_S = 0.010  # of the rate, so that late timers (resolution 1 ms) lose none
_WRITE_BUFFER = 256 * 1024
UP, DOWN = 0, 1


class _Meter:
    """The rate limit of one direction, with a FIFO queue."""

    def __init__(self, rate: float, counts: memoryview, direction: int) -> None:
        self._rate = rate
        self._counts = counts
        self._direction = direction
        self._free_at = 0.0
        self._queue: deque[tuple[_Stream, bytes]] = deque()
        self._loop = asyncio.get_running_loop()

    def send(self, stream: "_Stream", data: bytes) -> bool:
        """Return whether the data was sent; if not, `stream.sent` is called later."""
        if not self._rate:
            self._emit(stream, data)
            return True
        now = time.monotonic()
        if self._queue or self._free_at > now:
            if not self._queue:
                self._loop.call_later(self._free_at - now, self._release)
            self._queue.append((stream, data))
            return False
        self._charge(now, data)
        self._emit(stream, data)
        return True

    def _release(self) -> None:
        now = time.monotonic()
        while self._queue and self._free_at <= now:
            stream, data = self._queue.popleft()
            self._charge(now, data)
            self._emit(stream, data)
            stream.sent()
        if self._queue:
            self._loop.call_later(self._free_at - now, self._release)

    def _charge(self, now: float, data: bytes) -> None:
        self._free_at = max(self._free_at, now - _BURST_S) + len(data) / self._rate

    def _emit(self, stream: "_Stream", data: bytes) -> None:
        self._counts[self._direction] += len(data)
        stream.emit(data)


class _Stream:
    """One direction of a connection, from its source's transport to its sink's."""

    def __init__(self, meter: _Meter, delay: float = 0.0) -> None:
        self._meter = meter
        self._delay = delay
        self._loop = asyncio.get_running_loop()
        self._early: list[bytes] = []  # data from before the sink was connected
        self._held = self._blocked = self._paused = self._ended = False
        self._sink: Any = None
        self.source: Any = None
        self.responses: _Stream | None = None  # the opposite direction, for requests
        self.at_start = True  # whether the next byte starts a response

    def open(self, sink: Any) -> None:
        self._sink = sink
        early, self._early = self._early, []
        if early:
            self._hold(False)
        for data in early:
            self.received(data)
        if self._ended:
            self.end()

    def received(self, data: bytes) -> None:
        if self.responses is not None:
            self.responses.at_start = True
        if self._sink is None:
            self._early.append(data)
            self._hold(True)
        elif self._delay and self.at_start:
            self.at_start = False
            self._hold(True)
            self._loop.call_later(self._delay, self._delayed, data)
        elif not self._meter.send(self, data):
            self._hold(True)

    def _delayed(self, data: bytes) -> None:
        if self._meter.send(self, data):
            self.sent()

    def emit(self, data: bytes) -> None:
        if not self._sink.is_closing():
            self._sink.write(data)

    def sent(self) -> None:
        """Resume reading after held data was sent."""
        self._hold(False)
        if self._ended:
            self.end()

    def block(self, blocked: bool) -> None:
        """Pause or resume reading, as the sink's buffer is full or not."""
        self._blocked = blocked
        self._read()

    def end(self) -> None:
        """Close the sink, after held data was sent."""
        self._ended = True
        if not self._held and self._sink is not None:
            self._sink.close()

    def _hold(self, held: bool) -> None:
        self._held = held
        self._read()

    def _read(self) -> None:
        paused = self._held or self._blocked
        if paused != self._paused and self.source is not None and not self.source.is_closing():
            self._paused = paused
            (self.source.pause_reading if paused else self.source.resume_reading)()


class _End(asyncio.Protocol):
    """A connection: it forwards received data to `out`, and `back` writes to it."""

    def __init__(self, out: _Stream, back: _Stream) -> None:
        self._out, self._back = out, back

    def connection_made(self, transport: Any) -> None:
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        self._out.source = transport
        self._back.open(transport)

    def data_received(self, data: bytes) -> None:
        self._out.received(data)

    def pause_writing(self) -> None:
        self._back.block(True)

    def resume_writing(self) -> None:
        self._back.block(False)

    def connection_lost(self, _: BaseException | None) -> None:
        self._out.end()


class _Client(_End):
    """A client's connection, which opens one to the server."""

    def __init__(self, address: tuple[str, int], up: _Stream, down: _Stream) -> None:
        super().__init__(up, down)
        up.responses = down
        self._address = address

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._task = asyncio.get_running_loop().create_task(self._connect(transport))

    async def _connect(self, transport: Any) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: _End(self._back, self._out), *self._address)
        except OSError:
            transport.close()


async def _serve(delay: float, rate: float, counts: memoryview) -> None:
    loop = asyncio.get_running_loop()
    up, down = _Meter(rate, counts, UP), _Meter(rate, counts, DOWN)
    address = ("", 0)
    host = "127.0.0.1"
    server = await loop.create_server(
        lambda: _Client(address, _Stream(up), _Stream(down, delay)), host, 0, backlog=1024, start_serving=False
    )
    sys.stdout.write(f"http://{host}:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    target = urlsplit((await loop.run_in_executor(None, sys.stdin.readline)).strip())
    if target.hostname and target.port:
        address = (target.hostname, target.port)
        await server.start_serving()
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    with contextlib.suppress(ImportError):  # a dependency of dagster-webserver's uvicorn, not on every platform
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    delay, rate, path = float(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 16) as shared, memoryview(shared).cast("Q") as counts:
        asyncio.run(_serve(delay, rate, counts))


if __name__ == "__main__":
    main()
