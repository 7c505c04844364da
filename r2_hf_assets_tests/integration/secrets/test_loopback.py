"""The S3 server, the Hub and the fault proxy of the sandbox listen on loopback alone."""

import os
import socket
import sys
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from r2_hf_sandbox.s3.faults import S3Faults
from r2_hf_sandbox.sandbox import Sandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's list of sockets is read from /proc")

_LISTEN = "0A"  # include/net/tcp_states.h


def listeners(*pids: int) -> set[tuple[str, int]]:
    """Return address and port of every TCP socket that these processes listen on."""
    sockets = {link.readlink().name for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    addresses = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else ():
            fields = line.split()
            if fields[3] == _LISTEN and f"socket:[{fields[9]}]" in sockets:
                address, _, port = fields[1].partition(":")
                addresses.add((_address(address), int(port, 16)))
    return addresses


def _address(text: str) -> str:
    """Parse an address of /proc/net, whose 32-bit words are in the machine's byte order."""
    words = bytes.fromhex(text)
    data = b"".join(int.from_bytes(words[i : i + 4], sys.byteorder).to_bytes(4, "big") for i in range(0, len(words), 4))
    return str(IPv4Address(data) if len(data) == 4 else IPv6Address(data))


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_the_sandbox_listens_on_loopback_alone(sandbox: Sandbox) -> None:
    with S3Faults(sandbox.s3.endpoint_url) as proxy:
        sockets = listeners(sandbox.s3.process.pid, sandbox.hub.process.pid, os.getpid())
        ports = {port for _, port in sockets}
        assert {port_of(url) for url in (sandbox.s3.endpoint_url, sandbox.hub.endpoint, proxy.endpoint_url)} <= ports
    assert len(listeners(sandbox.s3.process.pid)) >= 7, "master, volume, filer, S3, and at least three gRPC ports"
    assert {address for address, _ in sockets} <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "::", "::1"])
def test_a_listener_on_any_address_is_listed(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as opened:
        try:
            opened.bind((address, 0))
        except OSError as error:
            pytest.skip(f"no {address} here: {error}")
        opened.listen()
        listened = (address, opened.getsockname()[1])
        assert listened in listeners(os.getpid())
    assert listened not in listeners(os.getpid())
