"""Upload over Xet by hf_xet's streaming upload, which chunks, deduplicates, hashes and sends the bytes as they arrive.

`write` blocks while hf_xet's buffers are full, which is the back-pressure of a build. hf_xet deduplicates by requests
to the Hub. Its local cache of earlier uploads grows, and also names content that the Hub has lost, so each upload has
an empty cache of its own.

hf_xet (1.8) has no timeout on the upload of a shard, and its read timeout bounds the length of an upload, not a stall.
So its calls run in a thread while the caller polls hf_xet's byte counts: after STALL_S without progress the session
is aborted, which ends its calls, and a TimeoutError is raised.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from r2_hf_assets import activity
from r2_hf_assets.background import Background
from r2_hf_assets.disk import disk_error, on_disk, stale
from r2_hf_assets.hub.client import HubClient, XetAccess
from r2_hf_assets.hub.errors import TransferFailed, one_line
from r2_hf_assets.retry import T
from r2_hf_assets.settings import hub_home
from r2_hf_assets.shards.writer import Content, PartUpload, Upload

# Longer than hf_xet's retries of a request (six minutes), whose bytes it counts once, and than two blocks of 64 MB take
# at 3 Mbit/s. Shorter than the ten minutes after which `lost_runs` ends a run.
STALL_S = 420.0
_POLL_S = 1.0
# The wait for an aborted call.
_ABORT_S = 2.0
# hf_xet's settings, unless the environment has them (as HF_XET_CLIENT_READ_TIMEOUT and so on).
_XET = {
    "client.retry_max_attempts": 8,  # its default of five is over in about a minute
    "client.connect_timeout": "30s",
    "client.read_timeout": "1800s",  # a block of 64 MB may take half an hour; STALL_S bounds a stall
    "xorb.compression_policy": "none",  # MP3 and the packed columns do not shrink, and a trial copies the block
}
# Blocks of 64 MB in flight. The default of 64 takes over a gigabyte on a fast line; two still fill 1 Gbit/s.
_XET_SLOW = {"client.ac_max_upload_concurrency": 2}
# A cache this old belongs to a killed upload.
_STALE_S = 7 * 24 * 3600.0


@contextmanager
def open_xet(repo: HubClient, access: XetAccess) -> Iterator[Upload]:
    """Open an upload of several files. All are registered when the block ends without an error, else none."""
    import hf_xet

    headers = repo.headers()
    with _cache() as cache:
        config = _config(hf_xet.XetConfig(), fast=repo.fast).with_config("shard.cache_subdir", cache)
        with WatchedSession(hf_xet.XetSession(config)) as session:
            open_commit = partial(
                session.xet.new_upload_commit,
                endpoint=access.endpoint,
                token=access.token,
                token_expiry_unix_secs=access.expires,
                token_refresh_url=access.refresh_url,
                token_refresh_headers=headers,
                # A request to the content store carries its own token.
                custom_headers={name: value for name, value in headers.items() if name.lower() != "authorization"},
            )
            session.commit = session.call(open_commit)
            yield _XetUpload(session, hf_xet.COMPUTE_SHA256)
            session.call(session.commit.wait_to_finish)


@contextmanager
def _cache() -> Iterator[str]:
    root = Path(hub_home()).expanduser() / "xet" / "r2_hf_assets"
    with on_disk(f"HF_HOME ({hub_home()})"):
        root.mkdir(parents=True, exist_ok=True)
        for folder in stale(root.iterdir(), _STALE_S):
            shutil.rmtree(folder, ignore_errors=True)
        cache = tempfile.TemporaryDirectory(dir=root, ignore_cleanup_errors=True)
    with cache as name:
        yield name


def _config(config: Any, *, fast: bool) -> Any:
    for name, value in (_XET if fast else _XET | _XET_SLOW).items():
        if f"HF_XET_{name.upper().replace('.', '_')}" not in os.environ:
            config = config.with_config(name, value)
    return config


class WatchedSession:
    """Makes the calls of an hf_xet session. A stall, an interrupt or an error in the block aborts the session."""

    def __init__(self, xet: Any) -> None:
        self.xet = xet
        self.commit: Any = None
        self._aborted = False
        self._thread = Background(1, "hub-upload")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind:
            self._abort()
        self._thread.close()

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return the result of the call. Raises DiskError, TimeoutError, or TransferFailed for any other error."""
        future = self._thread.submit(function, *arguments)
        progress, since = self._progress(), time.monotonic()
        try:
            while not wait([future], min(_POLL_S, STALL_S / 4)).done:
                before, progress = progress, self._progress()
                if progress != before:
                    since = time.monotonic()
                    activity.advance()
                elif time.monotonic() - since > STALL_S:
                    raise TimeoutError(f"no progress for {STALL_S:.0f} s")
        except BaseException:
            self._abort()
            wait([future], _ABORT_S)
            raise
        activity.advance()
        try:
            return future.result()
        except Exception as error:
            if of_cache := disk_error(error, f"HF_HOME ({hub_home()})"):
                raise of_cache from None
            raise TransferFailed(one_line(str(error)) or type(error).__name__) from None

    def _abort(self) -> None:
        if not self._aborted:
            self._aborted = True
            self.xet.sigint_abort()

    def _progress(self) -> tuple[int, ...]:
        """Return every count of bytes that hf_xet reports."""
        if self.commit is None:
            return ()
        report = self.commit.progress()
        return tuple(
            getattr(part, name) for part in (report, report.shard) for name in dir(part) if "_completed" in name
        )


@dataclass(frozen=True)
class _XetUpload:
    session: WatchedSession
    sha256: object

    def begin(self) -> PartUpload:
        open_stream = partial(self.session.commit.start_upload_stream, sha256=self.sha256)
        return _XetPart(self.session, self.session.call(open_stream))


@dataclass(frozen=True)
class _XetPart:
    session: WatchedSession
    stream: Any

    def write(self, data: bytes) -> None:
        self.session.call(self.stream.write, data)

    def finish(self) -> Content:
        info = self.session.call(self.stream.finish).xet_info
        return Content(info.file_size, info.sha256)
