"""Uploads over Xet, by hf_xet's streaming upload: it cuts, deduplicates, hashes and sends the bytes as they come.

`write` blocks while its buffers wait for the line: that is the back-pressure of a build. What the Hub holds already is
not sent: hf_xet asks it. Its own cache of earlier uploads would only repeat that, grow, and go on naming content that
the Hub has lost; so each upload has an empty one, which is removed with it.

hf_xet has no timeout on the upload of a shard (1.8), and its read timeout runs from a request's start, so it bounds an
upload's length and not its silence. So its calls run in a thread, and the caller looks at the bytes that hf_xet
reports: after SILENCE_S without any, the session is ended, which wakes its calls, and a TimeoutError is raised.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from r2_hf_assets import activity
from r2_hf_assets.background import Background
from r2_hf_assets.disk import disk_error, on_disk, stale
from r2_hf_assets.hub.client import HubClient, XetAccess
from r2_hf_assets.hub.errors import TransferBroken, one_line
from r2_hf_assets.settings import hub_home
from r2_hf_assets.shards.writer import Content, PartUpload, Upload

T = TypeVar("T")

# Longer than hf_xet repeats a request without sending anything (six minutes), and than two blocks of 64 MB take at
# 3 Mbit/s: it reports no byte twice. Shorter than the ten minutes after which `lost_runs` ends a run.
SILENCE_S = 420.0
# How often the watch looks, and how long it waits for a call to end that was told to.
_LOOK_S = 1.0
_END_S = 2.0
# hf_xet's settings, unless the environment has them (as HF_XET_CLIENT_READ_TIMEOUT and so on).
_XET = {
    # Its own are five tries in about a minute.
    "client.retry_max_attempts": 8,
    "client.connect_timeout": "30s",
    # A block of 64 MB may take half an hour; silence ends it before.
    "client.read_timeout": "1800s",
    # MP3 gets no smaller, and the other columns are packed already; a trial costs a copy of the block.
    "xorb.compression_policy": "none",
}
# Blocks of 64 MB in flight. Its own limit of 64 takes over a gigabyte on a fast line; two still fill 1 Gbit/s.
_XET_SLOW = {"client.ac_max_upload_concurrency": 2}
# Of a cache that a killed upload left: no upload lasts as long.
_LEFT_S = 7 * 24 * 3600.0


@contextmanager
def open_xet(repo: HubClient, access: XetAccess) -> Iterator[Upload]:
    """An upload of several files; all are registered when the block ends well, none when it does not."""
    import hf_xet

    headers = repo.headers()
    with _cache() as cache:
        config = _config(hf_xet.XetConfig(), fast=repo.fast).with_config("shard.cache_subdir", str(cache))
        session = hf_xet.XetSession(config)
        with closing(Watched(session)) as watched:
            commit = watched.call(
                lambda: session.new_upload_commit(
                    endpoint=access.endpoint,
                    token=access.token,
                    token_expiry_unix_secs=access.expires,
                    token_refresh_url=access.refresh_url,
                    token_refresh_headers=headers,
                    # A request to the content store carries a token of its own.
                    custom_headers={name: value for name, value in headers.items() if name.lower() != "authorization"},
                )
            )
            watched.commit = commit
            try:
                yield _XetUpload(commit, watched, hf_xet.COMPUTE_SHA256)
                watched.call(commit.wait_to_finish)
            except BaseException:
                watched.end()
                raise


@contextmanager
def _cache() -> Iterator[Path]:
    root = Path(hub_home()).expanduser() / "xet" / "r2_hf_assets"
    with on_disk(f"HF_HOME ({hub_home()})"):
        root.mkdir(parents=True, exist_ok=True)
        for left in stale(root.iterdir(), _LEFT_S):
            shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _config(config: Any, *, fast: bool) -> Any:
    for name, value in (_XET if fast else _XET | _XET_SLOW).items():
        if f"HF_XET_{name.upper().replace('.', '_')}" not in os.environ:
            config = config.with_config(name, value)
    return config


class Watched:
    """Calls into one hf_xet session, which end when nothing moves, and which Ctrl-C does not have to wait for."""

    def __init__(self, session: Any) -> None:
        self.commit: Any = None
        self._session = session
        self._ended = False
        self._thread = Background(1, "hub-upload")

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """What the call returns.

        Raises:
            TransferBroken: whatever hf_xet raised, but for a disk's errors.
            TimeoutError: nothing moved for SILENCE_S seconds.
        """
        future = self._thread.submit(function, *arguments)
        seen, since = self._moved(), time.monotonic()
        try:
            while not wait([future], min(_LOOK_S, SILENCE_S / 4)).done:
                now = self._moved()
                if now != seen:
                    seen, since = now, time.monotonic()
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
            if told := disk_error(error, f"HF_HOME ({hub_home()})"):
                raise told from None
            raise TransferBroken(one_line(str(error)) or type(error).__name__) from None

    def end(self) -> None:
        """End the session, and with it whatever still waits for it."""
        if not self._ended:
            self._ended = True
            self._session.sigint_abort()

    def _moved(self) -> tuple[int, ...]:
        """Every count of bytes that hf_xet reports."""
        if self.commit is None:
            return ()
        progress = self.commit.progress()
        return tuple(
            getattr(part, name) for part in (progress, progress.shard) for name in dir(part) if "_completed" in name
        )

    def close(self) -> None:
        self._thread.close()


@dataclass(frozen=True)
class _XetUpload:
    commit: Any
    watched: Watched
    sha256: Any

    def begin(self) -> PartUpload:
        return _XetPart(self.watched.call(lambda: self.commit.start_upload_stream(sha256=self.sha256)), self.watched)


@dataclass(frozen=True)
class _XetPart:
    stream: Any
    watched: Watched

    def write(self, data: bytes) -> None:
        self.watched.call(self.stream.write, data)

    def finish(self) -> Content:
        found = self.watched.call(self.stream.finish).xet_info
        return Content(found.file_size, found.sha256)
