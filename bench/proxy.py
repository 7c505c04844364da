"""A TCP proxy that makes a line slow: a wait before every answer, and bytes a second in each direction.

`python -m bench.proxy DELAY RATE COUNTS` prints its own URL, reads the server's URL from the first line of its
standard input (so the server can be told before it starts by which URL clients reach it), says when it listens, and
runs until that input ends. DELAY is in seconds: an answer is held back for that long from its first byte on. RATE is
in bytes/s, 0 for no limit: all connections together share it, each direction has its own. COUNTS is a file of two
native 64-bit numbers, always up to date: bytes from clients, bytes to clients.

Data that has no tokens waits in a queue, and so does an answer that is delayed. Its connection is not read meanwhile,
nor while the other side takes nothing, so a connection holds one read (up to 256 kB) and a write buffer, and the
kernel makes the sender wait. Requests pass without a delay, connections stay open, and the server's own time comes on
top.
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

_BURST_S = 0.010  # of the rate that is not lost when a timer is late; timers have a resolution of 1 ms
_WRITE_BUFFER = 256 * 1024
UP, DOWN = 0, 1


class _Meter:
    """One direction of the line: sends what the rate allows, and queues the rest in the order of its arrival."""

    def __init__(self, rate: float, counts: memoryview, direction: int) -> None:
        self._rate = rate
        self._counts = counts
        self._direction = direction
        self._free_at = 0.0
        self._queue: deque[tuple[_Way, bytes]] = deque()
        self._loop = asyncio.get_running_loop()

    def send(self, way: "_Way", data: bytes) -> bool:
        """Whether it was sent; otherwise `way.sent` is called when it is."""
        if not self._rate:
            self._emit(way, data)
            return True
        now = time.monotonic()
        if self._queue or self._free_at > now:
            if not self._queue:
                self._loop.call_later(self._free_at - now, self._release)
            self._queue.append((way, data))
            return False
        self._charge(now, data)
        self._emit(way, data)
        return True

    def _release(self) -> None:
        now = time.monotonic()
        while self._queue and self._free_at <= now:
            way, data = self._queue.popleft()
            self._charge(now, data)
            self._emit(way, data)
            way.sent()
        if self._queue:
            self._loop.call_later(self._free_at - now, self._release)

    def _charge(self, now: float, data: bytes) -> None:
        self._free_at = max(self._free_at, now - _BURST_S) + len(data) / self._rate

    def _emit(self, way: "_Way", data: bytes) -> None:
        self._counts[self._direction] += len(data)
        way.emit(data)


class _Way:
    """One direction of one connection, from its source's transport to its sink's."""

    def __init__(self, meter: _Meter, delay: float = 0.0) -> None:
        self._meter = meter
        self._delay = delay
        self._loop = asyncio.get_running_loop()
        self._early: list[bytes] = []  # what came before the sink was reached
        self._held = self._blocked = self._paused = self._ended = False
        self._sink: Any = None
        self.source: Any = None
        self.answers: _Way | None = None  # the way that brings answers to what passes here
        self.awaited = True  # whether the next byte begins an answer

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
        if self.answers is not None:
            self.answers.awaited = True
        if self._sink is None:
            self._early.append(data)
            self._hold(True)
        elif self._delay and self.awaited:
            self.awaited = False
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
        """What was held is on its way."""
        self._hold(False)
        if self._ended:
            self.end()

    def block(self, blocked: bool) -> None:
        """The sink's buffer is full, or no longer."""
        self._blocked = blocked
        self._read()

    def end(self) -> None:
        """The source is gone: what is held still goes out first."""
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
    """A connection: what it receives goes `out`, and `back` writes to it."""

    def __init__(self, out: _Way, back: _Way) -> None:
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
    """A client's connection, which opens its own one to the server."""

    def __init__(self, address: tuple[str, int], up: _Way, down: _Way) -> None:
        super().__init__(up, down)
        up.answers = down
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
        lambda: _Client(address, _Way(up), _Way(down, delay)), host, 0, backlog=1024, start_serving=False
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
    with contextlib.suppress(ImportError):  # it comes with dagster-webserver's uvicorn, but not on every platform
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    delay, rate, path = float(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 16) as shared, memoryview(shared).cast("Q") as counts:
        asyncio.run(_serve(delay, rate, counts))


if __name__ == "__main__":
    main()
