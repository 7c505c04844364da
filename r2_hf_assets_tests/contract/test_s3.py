"""The S3 server listens on loopback, keeps its data, and exits with its parent. What it serves: test_bucket.py."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from r2_hf_sandbox import S3Server, SandboxError, start_s3
from r2_hf_sandbox.hub.server import PACKAGE_ROOT
from r2_hf_sandbox.processes import start_time, wait_until
from r2_hf_sandbox.s3 import server as s3_module


def test_creating_a_bucket_twice_is_no_error(s3: S3Server, bucket: str) -> None:
    s3.client().put_object(Bucket=bucket, Key="kept", Body=b"1")
    s3.create_bucket(bucket)
    assert s3.client().get_object(Bucket=bucket, Key="kept")["Body"].read() == b"1"


def test_nothing_listens_outside_loopback(s3: S3Server) -> None:
    listening = _listening(s3.process.pid)
    assert len(listening) >= 2
    assert {address for address, _ in listening} == {"127.0.0.1"}


def test_data_and_keys_survive_a_restart_and_no_process_or_socket_remains(tmp_path: Path) -> None:
    with start_s3(tmp_path) as first:
        first.create_bucket("kept")
        first.client().put_object(Bucket="kept", Key="key", Body=b"value")
    assert not first.process.alive()
    assert [path for path in first.sockets if Path(path).exists()] == []
    with start_s3(tmp_path) as second:
        assert (second.access_key, second.secret_key) == (first.access_key, first.secret_key)
        assert second.client().get_object(Bucket="kept", Key="key")["Body"].read() == b"value"


def test_a_taken_port_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = s3_module._ports, []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        def ports() -> dict[str, int]:
            calls.append(1)
            return real() | ({"master": taken.getsockname()[1]} if len(calls) == 1 else {})

        monkeypatch.setattr(s3_module, "_ports", ports)
        with start_s3(tmp_path) as server:
            assert server.process.alive()
    assert len(calls) == 2


def test_the_output_of_a_server_that_fails_to_start_is_in_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weed = tmp_path / "weed"
    weed.write_text("#!/bin/sh\necho 'no disk'\nexit 1\n")
    weed.chmod(0o755)
    monkeypatch.setattr(s3_module, "weed_binary", lambda: str(weed))
    with pytest.raises(SandboxError, match="no disk"):
        start_s3(tmp_path / "s3")


def test_the_server_exits_with_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from r2_hf_sandbox import start_s3\n"
        "server = start_s3(Path(sys.argv[1])); print(server.process.pid, *server.sockets, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)},
    ) as parent:
        assert parent.stdout is not None
        pid, *sockets = parent.stdout.readline().split()
        assert start_time(int(pid)) is not None
        parent.send_signal(signal.SIGKILL)
    assert wait_until(lambda: start_time(int(pid)) is None, 5)
    assert wait_until(lambda: not any(Path(path).exists() for path in sockets), 5)


def _listening(pid: int) -> list[tuple[str, int]]:
    """Return address and port of every TCP socket that the process listens on."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(descriptor))
    sockets = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                address, port = fields[1].split(":")
                packed = b"".join(bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8))
                family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
                sockets.append((socket.inet_ntop(family, packed), int(port, 16)))
    return sockets
