"""A local Hugging Face Hub: what huggingface_hub, hf_xet and datasets need of it to work on one dataset repository.

`start_hub(folder)` runs it as a process of its own on a free loopback port, with tokens it has made up. Its state is in
`folder`: killed at any moment and started there again, it has every commit that it acknowledged. It refuses what the
real Hub refuses (see `hub_commits`, `hub_web`), stores uploads that come over Xet or over LFS, and serves reads over
both. Of the real Hub's it lacks: models and Spaces, branches other than `main`, pull requests, gated repositories,
and the dataset viewer.

Beyond the real Hub there is `/_sandbox/...`, by which tests order trouble and count requests: `faults`, `requests`.
"""

import json
import os
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from r2_hf_sandbox.processes import (
    LOOPBACK,
    Process,
    SandboxError,
    free_port,
    log_tail,
    start_process,
    wait_until,
)

START_ATTEMPTS = 5
START_TIMEOUT_S = 30.0
STOP_GRACE_S = 3.0
PACKAGE_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class HubServer:
    """A running Hub. `token` may write, `read_token` may not. As a context manager it stops at the end of the block."""

    endpoint: str
    token: str = field(repr=False)
    read_token: str = field(repr=False)
    user: str
    folder: Path
    process: Process

    def faults(self, *faults: dict[str, Any]) -> None:
        """Order trouble, see `hub_faults`: `hub.faults({"method": "POST", "path_regex": "/commit/", "status": 503})`"""
        self._admin("POST", "/_sandbox/faults", list(faults))

    def clear_faults(self) -> None:
        self._admin("DELETE", "/_sandbox/faults")

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """The requests served so far, oldest first; number `since` and later ones only."""
        return self._admin("GET", f"/_sandbox/requests?since={since}")["requests"]

    def mark(self) -> int:
        """A number for `requests(since=...)`: only what comes after this call."""
        return self._admin("GET", "/_sandbox/requests?since=1000000000")["next"]

    def stop(self) -> None:
        self.process.stop(STOP_GRACE_S)

    def _admin(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.endpoint + path, data=data, method=method)
        try:
            with _direct().open(request, timeout=30) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise SandboxError(error.read().decode()) from error

    def __enter__(self) -> "HubServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_hub(
    folder: Path,
    *,
    detach: bool = False,
    port: int | None = None,
    public_url: str | None = None,
    user: str = "sandbox",
    namespaces: Sequence[str] = (),
    xet: bool = True,
    serve_xet_reads: bool = True,
    lfs_part_bytes: int = 64 * 1024 * 1024,
) -> HubServer:
    """Start a Hub with its state in `folder`.

    Args:
        folder: made if missing; what an earlier Hub left there is served again, with the same tokens.
        detach: the Hub outlives this process until `stop()`.
        port: this one or an error; None takes a free one.
        public_url: by which clients reach it, through a proxy: the URLs that it hands out begin with it.
        user: who the tokens belong to.
        namespaces: where the user may write; empty means everywhere.
        xet: False is a Hub without Xet: uploads go over LFS.
        serve_xet_reads: False answers downloads as plain files, also of what was uploaded over Xet.
        lfs_part_bytes: larger LFS uploads are asked for in parts of this size.

    Raises:
        SandboxError: it did not come up; the message ends with the tail of its log.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "user": user,
        "namespaces": list(namespaces),
        "xet": xet,
        "serve_xet_reads": serve_xet_reads,
        "lfs_part_bytes": lfs_part_bytes,
    }
    config = _write_config(folder / "hub.json", options)
    log = folder / "hub.log"
    for _ in range(START_ATTEMPTS if port is None else 1):
        chosen = port or free_port()
        command = [sys.executable, "-m", "r2_hf_sandbox.hub.app", str(folder), str(chosen)]
        command += [public_url] if public_url else []
        process = start_process(command, log=log, detach=detach, grace_s=STOP_GRACE_S, env=_environment(folder))
        endpoint = f"http://{LOOPBACK}:{chosen}"
        server = HubServer(endpoint, config["write_token"], config["read_token"], user, folder, process)
        wait_until(partial(_settled, server), START_TIMEOUT_S)
        if process.alive() and _answers(server):
            return server
        server.stop()
    raise SandboxError(f"the local Hub did not come up in {folder}; its log ends:\n{log_tail(log)}")


def _write_config(path: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Options are the caller's; tokens and ids stay what they were."""
    made = {
        "write_token": f"hf_write{secrets.token_hex(12)}",
        "read_token": f"hf_read{secrets.token_hex(12)}",
        "secret": secrets.token_hex(32),
        "store_id": secrets.token_hex(6),
    }
    kept = json.loads(path.read_text()) if path.exists() else {}
    config = {**made, **kept, **options}
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return config


def _environment(folder: Path) -> dict[str, str]:
    # The Hub's own Xet client keeps its caches in the folder and speaks to no proxy.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    paths = os.pathsep.join(filter(None, (str(PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))
    return {**kept, "HF_HOME": str(folder / "hf_home"), "PYTHONPATH": paths, "NO_PROXY": "*", "no_proxy": "*"}


def _direct() -> urllib.request.OpenerDirector:
    """An opener that ignores proxy settings: this is our own loopback."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _settled(server: HubServer) -> bool:
    """Whether waiting is over: it answers, or it has ended."""
    return not server.process.alive() or _answers(server)


def _answers(server: HubServer) -> bool:
    request = urllib.request.Request(
        f"{server.endpoint}/api/whoami-v2", headers={"Authorization": f"Bearer {server.token}"}
    )
    try:
        with _direct().open(request, timeout=5) as answer:
            return json.loads(answer.read())["name"] == server.user
    except OSError:
        return False
