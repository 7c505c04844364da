"""The whole sandbox: a local S3 server and a local Hub in one folder, and the settings that point the product at them.

`with start_sandbox() as sandbox:` starts both side by side and stops both; `sandbox.env()` is what to put into the
environment. The folder is temporary and removed at the end, unless one is given: then objects, commits and keys are
found again there next time.
"""

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r2_hf_sandbox.hub.server import HubServer, start_hub
from r2_hf_sandbox.s3.server import S3Server, start_s3

BUCKET = "podcasts"
REPO_ID = "sandbox/podcasts"


@dataclass(frozen=True)
class Sandbox:
    """A running S3 server with an empty bucket, and a running Hub without a repository."""

    s3: S3Server
    hub: HubServer
    bucket: str
    repo_id: str
    folder: Path
    temporary: bool = field(repr=False)

    def env(self) -> dict[str, str]:
        """The variables that the product reads, and HF_HOME so that no user's cache or token is touched."""
        return {
            "R2_ENDPOINT_URL": self.s3.endpoint_url,
            "R2_ACCESS_KEY_ID": self.s3.access_key,
            "R2_SECRET_ACCESS_KEY": self.s3.secret_key,
            "R2_BUCKET": self.bucket,
            "HF_REPO_ID": self.repo_id,
            "HF_TOKEN": self.hub.token,
            "HF_ENDPOINT": self.hub.endpoint,
            "HF_HOME": str(self.folder / "hf_home"),
        }

    def stop(self) -> None:
        """Stop both servers; remove the folder if it was made for this sandbox."""
        try:
            self.hub.stop()
        finally:
            self.s3.stop()
            if self.temporary:
                shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_sandbox(
    folder: Path | None = None, *, bucket: str = BUCKET, repo_id: str = REPO_ID, detach: bool = False, **hub: Any
) -> Sandbox:
    """Start both servers and make the bucket.

    Args:
        folder: kept afterwards; None makes a temporary one.
        detach: the servers outlive this process until `stop()`.
        hub: options of `start_hub`.

    Raises:
        SandboxError: one of them did not come up; then neither runs.
    """
    home = Path(tempfile.mkdtemp(prefix="r2-hf-sandbox-")) if folder is None else folder.absolute()
    try:
        s3, hub_server = _start_both(home, detach, hub)
        sandbox = Sandbox(s3, hub_server, bucket, repo_id, home, temporary=folder is None)
        try:
            s3.create_bucket(bucket)
        except BaseException:
            sandbox.stop()
            raise
    except BaseException:
        if folder is None:
            shutil.rmtree(home, ignore_errors=True)
        raise
    return sandbox


def _start_both(home: Path, detach: bool, hub: dict[str, Any]) -> tuple[S3Server, HubServer]:
    with ThreadPoolExecutor(2) as pool:
        s3 = pool.submit(start_s3, home / "s3", detach=detach)
        hub_server = pool.submit(start_hub, home / "hub", detach=detach, **hub)
    for start, other in ((s3, hub_server), (hub_server, s3)):
        if error := start.exception():
            if not other.exception():
                other.result().stop()
            raise error
    return s3.result(), hub_server.result()
