"""A local Hugging Face Hub: the routes that huggingface_hub, hf_xet and datasets use for dataset repositories.

`start_hub(folder)` runs it as a process of its own on a free loopback port, with generated tokens. Its state is in
`folder`: after a kill at any moment, a new start there has every acknowledged commit. It refuses what the real Hub
refuses (see commits.py, web.py), stores uploads over Xet and over LFS, and serves reads over both. It has tags, pull
requests as refs (without discussions), super-squash, and deletion of content for good. It has no models or Spaces, no
branch but `main`, no gated repositories or dataset viewer.

Beyond the real Hub, tests inject faults and read the log of requests by `/_sandbox/faults` and `/_sandbox/requests`.
"""

import json
import os
import secrets
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r2_hf_sandbox.processes import LOOPBACK, Process, SandboxError, free_port, start_process, start_server

START_ATTEMPTS = 5
START_TIMEOUT_S = 30.0
STOP_GRACE_S = 3.0
PACKAGE_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class HubServer:
    """A running Hub, as a context manager stopped at the end of the block. `read_token` may not write."""

    endpoint: str
    token: str = field(repr=False)
    read_token: str = field(repr=False)
    user: str
    folder: Path
    process: Process

    def inject(self, *faults: dict[str, Any]) -> None:
        """Inject faults, see `HubFault`: `hub.inject({"method": "POST", "path_regex": "/commit/", "status": 503})`"""
        self._admin("POST", "/_sandbox/faults", list(faults))

    def clear_faults(self) -> None:
        self._admin("DELETE", "/_sandbox/faults")

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the requests from number `since` on, oldest first."""
        return self._admin("GET", f"/_sandbox/requests?since={since}")["requests"]

    def mark(self) -> int:
        """Return the number of the next request, for `requests(since=...)`."""
        return self._admin("GET", "/_sandbox/requests?since=1000000000")["next"]

    def responds(self) -> bool:
        headers = {"Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(f"{self.endpoint}/api/whoami-v2", headers=headers)
        try:
            with _direct().open(request, timeout=5) as response:
                return json.loads(response.read())["name"] == self.user
        except OSError:
            return False

    def stop(self) -> None:
        self.process.stop(STOP_GRACE_S)

    def _admin(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.endpoint + path, data=data, method=method)
        try:
            with _direct().open(request, timeout=30) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise SandboxError(error.read().decode()) from error

    def __enter__(self) -> "HubServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_hub(
    folder: Path,
    *,
    detach: bool = False,
    port: int | None = None,
    public_url: str | None = None,
    user: str = "sandbox",
    xet: bool = True,
    lfs_part_bytes: int = 64 * 1024 * 1024,
) -> HubServer:
    """Start a Hub with its state in `folder`.

    Args:
        folder: created if missing; repositories and tokens of an earlier Hub there are used again.
        detach: the Hub outlives this process until `stop()`.
        port: None draws a free one.
        public_url: the start of all URLs in responses, for clients behind a proxy.
        user: the tokens' user.
        xet: False: uploads go over LFS.
        lfs_part_bytes: larger LFS uploads have parts of this size.

    Raises:
        SandboxError: it did not start; the message ends with the tail of its log.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    config = _write_config(folder / "hub.json", {"user": user, "xet": xet, "lfs_part_bytes": lfs_part_bytes})
    log = folder / "hub.log"

    def start() -> HubServer:
        chosen = port or free_port()
        command = [sys.executable, "-m", "r2_hf_sandbox.hub.app", str(folder), str(chosen)]
        command += [public_url] if public_url else []
        process = start_process(command, log=log, detach=detach, grace_s=STOP_GRACE_S, env=_environment(folder))
        endpoint = f"http://{LOOPBACK}:{chosen}"
        return HubServer(endpoint, config["write_token"], config["read_token"], user, folder, process)

    attempts = START_ATTEMPTS if port is None else 1
    return start_server(start, "local Hub", log, attempts=attempts, timeout_s=START_TIMEOUT_S)


def _write_config(path: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Write the options with the existing tokens and ids, or new ones."""
    generated = {
        "write_token": f"hf_write{secrets.token_hex(12)}",
        "read_token": f"hf_read{secrets.token_hex(12)}",
        "secret": secrets.token_hex(32),
        "store_id": secrets.token_hex(6),
    }
    existing = json.loads(path.read_text()) if path.exists() else {}
    config = {**{name: existing.get(name, value) for name, value in generated.items()}, **options}
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return config


def _environment(folder: Path) -> dict[str, str]:
    # The Hub's own Xet client has its caches in the folder and uses no proxy. PYTHONPATH: any current directory.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    paths = os.pathsep.join(filter(None, (str(PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))
    return {**inherited, "HF_HOME": str(folder / "hf_home"), "PYTHONPATH": paths, "NO_PROXY": "*", "no_proxy": "*"}


def _direct() -> urllib.request.OpenerDirector:
    """Return an opener that ignores proxy settings."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
