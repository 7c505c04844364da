"""The whole sandbox: a local S3 server and a local Hub in one folder, and the product's settings for them.

`with start_sandbox() as sandbox:` starts both in parallel and stops both. `sandbox.env()` are the environment
variables. Without a folder it makes a temporary one; a given folder keeps objects, commits and keys for the next start.
"""

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r2_hf_sandbox.hub.server import HubServer, start_hub
from r2_hf_sandbox.s3.server import S3Server, start_s3
from r2_hf_sandbox.s3.slow_line import SlowLine, start_slow_line

BUCKET = "podcasts"
REPO_ID = "sandbox/podcasts"


@dataclass(frozen=True)
class Sandbox:
    """A running S3 server with an empty bucket, and a running Hub without a repository.

    The settings name the `slow_line` in place of the S3 server, if there is one.
    """

    s3: S3Server
    hub: HubServer
    bucket: str
    repo_id: str
    folder: Path
    temporary: bool = field(repr=False)
    slow_line: SlowLine | None = None

    def env(self) -> dict[str, str]:
        """Return the product's variables, and HF_HOME so that no user's cache or token is used."""
        return {
            "R2_ENDPOINT_URL": (self.slow_line or self.s3).endpoint_url,
            "R2_ACCESS_KEY_ID": self.s3.access_key,
            "R2_SECRET_ACCESS_KEY": self.s3.secret_key,
            "R2_BUCKET": self.bucket,
            "HF_REPO_ID": self.repo_id,
            "HF_TOKEN": self.hub.token,
            "HF_ENDPOINT": self.hub.endpoint,
            "HF_HOME": str(self.folder / "hf_home"),
        }

    def stop(self) -> None:
        """Stop the servers; remove a temporary folder."""
        with ExitStack() as stack:
            if self.temporary:
                stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            for server in (self.s3, self.slow_line, self.hub):
                if server is not None:
                    stack.callback(server.stop)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_sandbox(
    folder: Path | None = None,
    *,
    bucket: str = BUCKET,
    repo_id: str = REPO_ID,
    detach: bool = False,
    slow_line: bool = False,
    **hub: Any,
) -> Sandbox:
    """Start both servers and create the bucket.

    Args:
        folder: None makes a temporary one.
        detach: the servers outlive this process until `stop()`.
        slow_line: the bucket is read through a proxy that slow episodes pass slowly.
        hub: options of `start_hub`.

    Raises:
        SandboxError: a server did not start; the others are stopped.
    """
    home = Path(tempfile.mkdtemp(prefix="r2-hf-sandbox-")) if folder is None else folder.absolute()
    with ExitStack() as on_error:
        if folder is None:
            on_error.callback(shutil.rmtree, home, ignore_errors=True)
        with ThreadPoolExecutor(2) as pool:
            starts = (
                pool.submit(start_s3, home / "s3", detach=detach),
                pool.submit(start_hub, home / "hub", detach=detach, **hub),
            )
        for start in starts:
            if not start.exception():
                on_error.callback(start.result().stop)
        s3, hub_server = starts[0].result(), starts[1].result()
        s3.create_bucket(bucket)
        line = start_slow_line(home, s3.endpoint_url, detach=detach) if slow_line else None
        on_error.pop_all()
    return Sandbox(s3, hub_server, bucket, repo_id, home, temporary=folder is None, slow_line=line)
