"""A network for the machines of a cluster: a bridge, and for each machine a network namespace on a veth pair.

    this machine  bridge r2hf<pid>, 10.213.<n>.1      w1  eth0 10.213.<n>.11      w2  eth0 10.213.<n>.12

Names have the creating process's pid, so the next run removes what a killed one left. Nothing is routed beyond the
bridge. Needs root; `available` reports whether namespaces can be made.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from r2_hf_sandbox.processes import LOOPBACK, wait_until

_NAME = re.compile(r"r2hf(\d+)(-\w+)?")


@dataclass(frozen=True)
class Machine:
    """One machine of the cluster; `namespace` is None when it shares this machine's network."""

    name: str
    address: str
    namespace: str | None = None

    @property
    def prefix(self) -> list[str]:
        """Words before a command that run it on this machine."""
        return ["ip", "netns", "exec", self.namespace] if self.namespace else []

    def pids(self) -> list[int]:
        """List every process of the machine."""
        if self.namespace is None:
            return []
        listed = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=False)
        return [int(pid) for pid in listed.stdout.split()]

    def kill(self) -> int:
        """Send SIGKILL to every process of the machine; return how many there were."""
        killed: set[int] = set()

        def gone() -> bool:
            left = self.pids()
            for pid in left:
                killed.add(pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not left

        wait_until(gone, 10)
        return len(killed)


@dataclass(frozen=True)
class Network:
    """`address`: this machine's; `range`: the subnet; both are empty when machines share this one's network."""

    address: str
    range: str
    machines: tuple[Machine, ...]


def available() -> bool:
    """Return whether namespaces can be made here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    probe = f"r2hf{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode == 0
    return made and subprocess.run(["ip", "netns", "del", probe], capture_output=True, check=False).returncode == 0


@contextmanager
def network(names: Sequence[str]) -> Iterator[Network]:
    """Machines with these names, each in a namespace with its own address."""
    _sweep()
    bridge = f"r2hf{os.getpid()}"
    subnet = f"10.213.{_free_third()}"
    machines: list[Machine] = []
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", f"{subnet}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for number, name in enumerate(names, 1):
            machine = Machine(name, f"{subnet}.{10 + number}", f"{bridge}-{name}")
            machines.append(machine)
            _connect(machine, bridge, number)
        yield Network(f"{subnet}.1", f"{subnet}.0/24", tuple(machines))
    finally:
        for machine in machines:
            machine.kill()
            _ip("netns", "del", str(machine.namespace), check=False)
        _ip("link", "del", bridge, check=False)


@contextmanager
def no_network(names: Sequence[str]) -> Iterator[Network]:
    """The same machines on this machine's network, where no namespace can be made."""
    yield Network("", "", tuple(Machine(name, LOOPBACK) for name in names))


def _connect(machine: Machine, bridge: str, number: int) -> None:
    space, here = str(machine.namespace), f"{bridge}v{number}"
    _ip("netns", "add", space)
    _ip("link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", space)
    _ip("link", "set", here, "master", bridge, "up")
    _ip("-n", space, "addr", "add", f"{machine.address}/24", "dev", "eth0")
    for device in ("lo", "eth0"):
        _ip("-n", space, "link", "set", device, "up")


def _ip(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _free_third() -> int:
    """Choose a 10.213.<n>.0/24 that no address of this machine is in; return n."""
    listed = json.loads(_ip("-j", "addr") or "[]")
    taken = {entry["local"] for link in listed for entry in link.get("addr_info", ())}
    free = [n for n in range(256) if not any(address.startswith(f"10.213.{n}.") for address in taken)]
    return random.SystemRandom().choice(free)


def _sweep() -> None:
    """Remove the namespaces and links of processes that have ended."""
    spaces = [line.split()[0] for line in _ip("netns", "list").splitlines() if line.strip()]
    links = [link["ifname"] for link in json.loads(_ip("-j", "link") or "[]")]
    for name in spaces:
        if (match := _NAME.fullmatch(name)) and not _is_running(int(match[1])):
            Machine(name, "", name).kill()
            _ip("netns", "del", name, check=False)
    for name in links:
        if (match := _NAME.fullmatch(name)) and not _is_running(int(match[1])):
            _ip("link", "del", name, check=False)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
