"""Where the contracts are tested. The buckets, a name each, and how their servers are started:

    seaweedfs  the sandbox's server; it lists by name
    moto       another implementation, in pure Python; it lists by key, and checks no signature
    r2         SeaweedFS behind the strict stand-in for R2 (r2_hf_sandbox/s3/r2.py)
    own        the bucket CONTRACT_BUCKET, in place of the others, with the settings in the environment and .env

Everything is written below one random prefix, which must be empty before and is removed afterwards. The Hub is the
sandbox's, or for CONTRACT_REPO the one of HF_ENDPOINT: the repo must not exist, and is deleted afterwards.
"""

import os
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import obstore
import pytest
from dotenv import dotenv_values

from r2_hf_assets.bucket.client import object_store
from r2_hf_assets.bucket.pages import check_access, first_page
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import R2HfError, SettingsError
from r2_hf_assets.hub.client import REPO_TYPE, HubClient
from r2_hf_assets.plan.files import StateFiles
from r2_hf_assets.retry import DEFAULT, ONCE
from r2_hf_assets.settings import BucketSettings, HubSettings, load_for_scan, load_partial
from r2_hf_assets_tests.support.shell import GIVEN
from r2_hf_sandbox import S3Server
from r2_hf_sandbox.processes import LOOPBACK, Process, free_port, start_process, start_server
from r2_hf_sandbox.s3.r2 import StrictR2

OWN_BUCKET = os.environ.get("CONTRACT_BUCKET", "")
PLACES = ("own",) if OWN_BUCKET else ("seaweedfs", "moto", "r2")
OWN_REPO = os.environ.get("CONTRACT_REPO", "")
HUBS = ("own",) if OWN_REPO else ("sandbox",)
_START_S = 60.0


@dataclass(frozen=True)
class Place:
    """A bucket with an empty prefix, as the product reads it."""

    name: str
    r2: BucketSettings

    def below(self, folder: str) -> "Place":
        return replace(self, r2=replace(self.r2, prefix=f"{self.r2.prefix}{folder}/"))

    def reader(self) -> Bucket:
        return Bucket(self.r2)

    def files(self) -> StateFiles:
        """Return a state store below the prefix."""
        return StateFiles(object_store(self.r2, prefix=self.r2.prefix.rstrip("/")), DEFAULT)

    def put(self, key: str, data: bytes) -> str:
        """Write an object below the prefix; return its whole key."""
        self.files().overwrite(key, data)
        return self.r2.prefix + key


@contextmanager
def own_place() -> Iterator[Place]:
    """The user's bucket. What is missing or refused ends the tests with one line."""
    try:
        r2 = replace(load_for_scan({**_environment(), "R2_BUCKET": OWN_BUCKET}).r2, prefix="")
        check_access(Bucket(r2), "")
        with emptied(Place("own", r2)) as place:
            yield place
    except R2HfError as error:
        pytest.exit(f"contract: {error}", returncode=2)


@contextmanager
def own_hub() -> Iterator[HubSettings]:
    """A new repo of the user. What is missing or refused ends the tests with one line."""
    try:
        hub = load_partial({**_environment(), "HF_REPO_ID": OWN_REPO}).hub
        if hub is None:
            raise SettingsError("settings: not set: HF_TOKEN")
        with new_repo(replace(hub, private=True)) as new:
            yield new
    except R2HfError as error:
        pytest.exit(f"contract: {error}", returncode=2)


@contextmanager
def new_repo(settings: HubSettings) -> Iterator[HubSettings]:
    """The settings of a repo that does not exist; it is deleted at the end."""
    client = HubClient(settings, retry=ONCE)
    if client.call_with_retry("read", client.head) is not None:
        pytest.exit(f"contract: {settings.repo_id} exists; nothing was changed: name a new repo", returncode=2)
    try:
        yield settings
    finally:
        delete = partial(client.api.delete_repo, settings.repo_id, repo_type=REPO_TYPE, missing_ok=True)
        client.call_with_retry("delete", delete)


def _environment() -> dict[str, str]:
    return {**GIVEN, **{name: value or "" for name, value in dotenv_values(".env").items()}}


@contextmanager
def emptied(place: Place) -> Iterator[Place]:
    """The bucket below a random prefix, which is removed at the end."""
    own = place.below(f"r2_hf_contract-{uuid.uuid4().hex[:12]}")
    page = first_page(own.reader(), own.r2.prefix, DEFAULT)
    if page.written:
        pytest.exit(f"contract: {own.r2.prefix} in {own.r2.name} is not empty; nothing was changed", returncode=2)
    files = own.files()
    files.create("probe", b"")  # whether writing is allowed
    try:
        yield own
    finally:
        for path in files.list_paths(""):
            obstore.delete(files.store, path)


@contextmanager
def bucket_of(server: S3Server, name: str) -> Iterator[Place]:
    """A new bucket of the sandbox's server, directly or behind the stand-in for R2."""
    bucket = f"contract-{name}"
    server.create_bucket(bucket)
    if name != "r2":
        yield Place(name, settings_of(server, bucket, server.endpoint_url))
        return
    with StrictR2(server.endpoint_url, server.access_key) as strict:
        yield Place(name, settings_of(server, bucket, strict.endpoint_url))


def settings_of(server: S3Server, bucket: str, endpoint_url: str) -> BucketSettings:
    """Return the settings of a bucket of the sandbox's server, which is reached at `endpoint_url`."""
    return BucketSettings(endpoint_url, server.access_key, server.secret_key, bucket, prefix="")


@dataclass(frozen=True)
class MotoServer:
    """moto's S3 as a process of its own: in this process it would patch botocore."""

    endpoint_url: str
    process: Process

    def responds(self) -> bool:
        try:
            # The bucket is made by a plain PUT: moto checks no signature, and rejects R2's region here alone.
            request = urllib.request.Request(f"{self.endpoint_url}/contract-moto", method="PUT")
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with direct.open(request, timeout=5) as response:
                return response.status == 200
        except OSError:
            return False

    def stop(self) -> None:
        self.process.stop(grace_s=0)


@contextmanager
def moto_place(folder: Path) -> Iterator[Place]:
    def start() -> MotoServer:
        port = free_port()
        command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)]
        process = start_process(command, log=log, detach=False, grace_s=0)
        return MotoServer(f"http://{LOOPBACK}:{port}", process)

    log = folder / "moto.log"
    server = start_server(start, "moto server", log, attempts=3, timeout_s=_START_S)
    try:
        yield Place("moto", BucketSettings(server.endpoint_url, "key", "secret", "contract-moto", prefix=""))
    finally:
        server.stop()
