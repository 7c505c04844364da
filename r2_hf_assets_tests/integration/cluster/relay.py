"""Forward TCP connections: `python relay.py FROM_ADDRESS TO_ADDRESS PORT ...`, each port to the same port there.

The sandbox's S3 server and Hub listen on loopback alone, and their responses contain their URLs. So one relay forwards
from the cluster's address to this machine's loopback, and one in each namespace from its loopback to that address. A
client there uses the same URLs, and all bytes cross the machine's link. Only the standard library.
"""

import asyncio
import contextlib
import sys

_CHUNK = 256 * 1024


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def _serve(here: str, there: str, port: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            on_reader, on_writer = await asyncio.open_connection(there, port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(_pump(reader, on_writer), _pump(on_reader, writer))
        for end in (writer, on_writer):
            end.close()

    async with await asyncio.start_server(connected, here, port, backlog=512) as server:
        await server.serve_forever()


async def _main(here: str, there: str, ports: list[int]) -> None:
    await asyncio.gather(*(_serve(here, there, port) for port in ports))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], [int(port) for port in sys.argv[3:]]))
