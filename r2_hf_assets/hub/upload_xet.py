"""Upload over Xet by hf_xet's streaming upload, which chunks, deduplicates, hashes and sends the bytes as they come.

`write` blocks while hf_xet's buffers are full, which is the back-pressure of a build. hf_xet deduplicates by requests
to the Hub; its local cache of earlier uploads also names content that the Hub has lost, and grows. So each upload has
an empty cache of its own.

hf_xet (1.8) has no timeout on the upload of a shard, and its read timeout bounds the length of an upload, not a stall.
So its calls run in a thread while the caller polls hf_xet's byte counts: after SILENCE_S without progress the session
is aborted, which ends its calls, and a TimeoutError is raised. It comes without types; those that are used stand here.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from r2_hf_assets import activity
from r2_hf_assets.background import Background
from r2_hf_assets.disk import disk_error, on_disk, stale
from r2_hf_assets.hub.client import HubClient, XetAccess
from r2_hf_assets.hub.errors import TransferBroken, one_line
from r2_hf_assets.retry import T
from r2_hf_assets.settings import hub_home
from r2_hf_assets.shards.writer import Content, PartUpload, Upload

# Longer than hf_xet retries a request without sending anything (six minutes), and than two blocks of 64 MB take at
# 3 Mbit/s: it counts no byte twice. Shorter than the ten minutes after which `lost_runs` ends a run.
SILENCE_S = 420.0
_POLL_S = 1.0
# How long an aborted call is waited for.
_END_S = 2.0
# hf_xet's settings, unless the environment has them (as HF_XET_CLIENT_READ_TIMEOUT and so on).
_XET = {
    "client.retry_max_attempts": 8,  # its default of five is over in about a minute
    "client.connect_timeout": "30s",
    "client.read_timeout": "1800s",  # a block of 64 MB may take half an hour; SILENCE_S ends a stall before
    "xorb.compression_policy": "none",  # MP3 and the packed columns get no smaller, and a trial copies the block
}
# Blocks of 64 MB in flight. The default of 64 takes over a gigabyte on a fast line; two still fill 1 Gbit/s.
_XET_SLOW = {"client.ac_max_upload_concurrency": 2}
# A cache this old belongs to a killed upload.
_STALE_S = 7 * 24 * 3600.0


class _Stream(Protocol):
    def write(self, data: bytes) -> object: ...
    def finish(self) -> Any: ...  # .xet_info has file_size and sha256


class _Commit(Protocol):
    def start_upload_stream(self, *, sha256: object) -> _Stream: ...
    def wait_to_finish(self) -> object: ...
    def progress(self) -> Any: ...  # counts of bytes, read by their names


@contextmanager
def open_xet(repo: HubClient, access: XetAccess) -> Iterator[Upload]:
    """Open an upload of several files. All are registered when the block ends without an error, else none."""
    import hf_xet

    headers = repo.headers()
    with _cache() as cache:
        config = _config(hf_xet.XetConfig(), fast=repo.fast).with_config("shard.cache_subdir", cache)
        session = hf_xet.XetSession(config)
        with closing(Watched(session)) as watched:
            open_commit = partial(
                session.new_upload_commit,
                endpoint=access.endpoint,
                token=access.token,
                token_expiry_unix_secs=access.expires,
                token_refresh_url=access.refresh_url,
                token_refresh_headers=headers,
                # A request to the content store carries a token of its own.
                custom_headers={name: value for name, value in headers.items() if name.lower() != "authorization"},
            )
            commit: _Commit = watched.call(open_commit)
            watched.commit = commit
            try:
                yield _XetUpload(commit, watched, hf_xet.COMPUTE_SHA256)
                watched.call(commit.wait_to_finish)
            except BaseException:
                watched.end()
                raise


@contextmanager
def _cache() -> Iterator[str]:
    root = Path(hub_home()).expanduser() / "xet" / "r2_hf_assets"
    with on_disk(f"HF_HOME ({hub_home()})"):
        root.mkdir(parents=True, exist_ok=True)
        for folder in stale(root.iterdir(), _STALE_S):
            shutil.rmtree(folder, ignore_errors=True)
        own = tempfile.TemporaryDirectory(dir=root, ignore_cleanup_errors=True)
    with own as name:
        yield name


def _config(config: Any, *, fast: bool) -> Any:
    for name, value in (_XET if fast else _XET | _XET_SLOW).items():
        if f"HF_XET_{name.upper().replace('.', '_')}" not in os.environ:
            config = config.with_config(name, value)
    return config


class Watched:
    """Calls into one hf_xet session: a stall or an interrupt ends a call and the session."""

    def __init__(self, session: Any) -> None:
        self.commit: _Commit | None = None
        self._abort: Callable[[], object] = session.sigint_abort
        self._ended = False
        self._thread = Background(1, "hub-upload")

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return the result of the call. Raises DiskError, TimeoutError, or TransferBroken for any other error."""
        future = self._thread.submit(function, *arguments)
        progress, since = self._progress(), time.monotonic()
        try:
            while not wait([future], min(_POLL_S, SILENCE_S / 4)).done:
                before, progress = progress, self._progress()
                if progress != before:
                    since = time.monotonic()
                    activity.advance()
                elif time.monotonic() - since > SILENCE_S:
                    raise TimeoutError(f"silence: nothing moved for {SILENCE_S:.0f} s")
        except BaseException:
            self.end()
            wait([future], _END_S)
            raise
        activity.advance()
        try:
            return future.result()
        except Exception as error:
            if on_cache := disk_error(error, f"HF_HOME ({hub_home()})"):
                raise on_cache from None
            raise TransferBroken(one_line(str(error)) or type(error).__name__) from None

    def end(self) -> None:
        """Abort the session and every call that waits for it."""
        if not self._ended:
            self._ended = True
            self._abort()

    def close(self) -> None:
        self._thread.close()

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
    commit: _Commit
    watched: Watched
    sha256: object

    def begin(self) -> PartUpload:
        return _XetPart(self.watched.call(lambda: self.commit.start_upload_stream(sha256=self.sha256)), self.watched)


@dataclass(frozen=True)
class _XetPart:
    stream: _Stream
    watched: Watched

    def write(self, data: bytes) -> None:
        self.watched.call(self.stream.write, data)

    def finish(self) -> Content:
        info = self.watched.call(self.stream.finish).xet_info
        return Content(info.file_size, info.sha256)
