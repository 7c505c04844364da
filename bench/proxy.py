"""A TCP proxy that makes a line longer: every answer is held back for a fixed time from its first byte on.

`python -m bench.proxy http://127.0.0.1:8333 0.06` prints its own URL and runs until its standard input ends. Requests
pass at once, connections stay open and there may be any number of them, so what is lost is only time, as on a line to
another continent. The server's own time comes on top. Made for small answers: what arrives meanwhile is held
in memory.
"""

import asyncio
import contextlib
import sys
from typing import Any
from urllib.parse import urlsplit


class _Client(asyncio.Protocol):
    """One connection of a client, and its own one to the server."""

    def __init__(self, host: str, port: int, delay: float) -> None:
        self._server_at = (host, port)
        self._delay = delay
        self._loop = asyncio.get_running_loop()
        self._early: list[bytes] = []  # what the client said before the server was reached
        self._held: list[bytes] | None = None  # of an answer, while it waits
        self._awaited = True  # whether the next byte begins an answer
        self._client: Any = None
        self._server: Any = None
        self._task: asyncio.Task[Any] | None = None

    def connection_made(self, transport: Any) -> None:
        self._client = transport
        self._task = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            self._server, _ = await self._loop.create_connection(lambda: _Server(self), *self._server_at)
        except OSError:
            self._client.close()
            return
        self._server.writelines(self._early)
        self._early = []

    def data_received(self, data: bytes) -> None:
        self._awaited = True
        if self._server is None:
            self._early.append(data)
        else:
            self._server.write(data)

    def connection_lost(self, _: BaseException | None) -> None:
        if self._server is not None:
            self._server.close()

    def answer(self, data: bytes) -> None:
        """Bytes from the server."""
        if self._awaited:
            self._awaited = False
            self._held = [data]
            self._loop.call_later(self._delay, self._release)
        elif self._held is not None:
            self._held.append(data)
        else:
            self._client.write(data)

    def _release(self) -> None:
        held, self._held = self._held, None
        if held and not self._client.is_closing():
            self._client.writelines(held)

    def server_gone(self) -> None:
        # What is held still goes out first.
        self._loop.call_later(self._delay, self._client.close)


class _Server(asyncio.Protocol):
    def __init__(self, client: _Client) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.answer(data)

    def connection_lost(self, _: BaseException | None) -> None:
        self._client.server_gone()


async def _serve(url: str, delay: float) -> None:
    target = urlsplit(url)
    assert target.hostname is not None and target.port is not None
    host, port = target.hostname, target.port
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Client(host, port, delay), host, 0, backlog=1024)
    sys.stdout.write(f"http://{host}:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    with contextlib.suppress(ImportError):  # it comes with dagster-webserver's uvicorn, but not on every platform
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(_serve(sys.argv[1], float(sys.argv[2])))


if __name__ == "__main__":
    main()
