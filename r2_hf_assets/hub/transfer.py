"""Uploads and downloads that end when nothing moves.

hf_xet moves bytes in native code, with an HTTP client of its own. It (1.8) gives a shard's upload no read timeout, so
that a Hub that accepts it and never answers would hold a run for ever. And its read timeout for all else runs from a
request's start to the answer's, so for a block of 64 MB it bounds the upload and not the silence: a slow line needs it
to be long.

So each transfer runs in a thread, and the caller watches its progress: what hf_xet says of its bytes, and the requests
that huggingface_hub makes itself (timeouts.py). After SILENCE_S without any, hf_xet's session is ended, which wakes
its calls, and the caller goes on with a TimeoutError, as with any broken connection. (hf_transfer: see
hf_transfer_child.py.)
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import cache, partial
from typing import Any, TypeVar

from r2_hf_assets import activity
from r2_hf_assets.activity import Mark

T = TypeVar("T")

# Longer than any request of huggingface_hub's may be silent, and than two blocks of 64 MB take that hf_xet sends a
# second time (it reports no byte twice) at 3 Mbit/s. Shorter than the ten minutes after which `lost_runs` ends a run.
SILENCE_S = 420.0
# What a line must do where hf_xet does not say how far it is.
_SLOWEST_BYTES_PER_S = 100_000
# How often the watch looks, and how long it waits for a thread to end that was told to.
_LOOK_S = 1.0
_END_S = 2.0

# hf_xet's own bounds, unless the user has set them. A block of 64 MB may take half an hour: silence ends it before.
_XET_BOUNDS = {"HF_XET_CLIENT_CONNECT_TIMEOUT": "30s", "HF_XET_CLIENT_READ_TIMEOUT": "1800s"}
_REPORTING = ("new_upload_commit", "new_file_download_group")


def bound_xet() -> None:
    """Let hf_xet's session tell of its bytes. Before the first one is made."""
    for name, value in _XET_BOUNDS.items():
        os.environ.setdefault(name, value)
    if (xet := _xet_module()) and not isinstance(xet._GLOBAL_XET_HOLDER, _holder_class(xet)):
        xet._GLOBAL_XET_HOLDER = _holder_class(xet)()


def watched(work: Callable[[], T], size: int = 0) -> T:
    """What `work` returns, a transfer of `size` bytes.

    Raises:
        TimeoutError: nothing moved for SILENCE_S seconds.
    """
    unseen_s = 0.0 if _can_be_watched() else size / _SLOWEST_BYTES_PER_S
    mark, done = Mark(), Future[T]()

    def run() -> None:
        with activity.following(mark):
            try:
                activity.advance(unseen_s)
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

    threading.Thread(target=run, name="hub-transfer", daemon=True).start()
    try:
        while not wait([done], min(_LOOK_S, SILENCE_S / 4)).done:
            if mark.idle() > SILENCE_S:
                raise TimeoutError(f"silence: nothing moved for {SILENCE_S:.0f} s")
    except BaseException:
        mark.left = True
        _end_xet()
        wait([done], _END_S)
        raise
    return done.result()


class _Reporting:
    """hf_xet's session, whose transfers advance the mark of the context that starts them."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._session, name)
        return partial(_start, found) if name in _REPORTING else found


def _start(start: Callable[..., Any], **options: Any) -> Any:
    advance, theirs = activity.advancing(), options.pop("progress_callback", None)
    seen: object = None

    def report(group: Any, items: Any) -> None:
        """Called ten times a second, whether anything moves or not."""
        nonlocal seen
        shard = group.shard
        now = [getattr(of, name) for of in (group, shard) for name in dir(of) if name.endswith("bytes_completed")]
        if now != seen:
            seen = now
            with suppress(activity.Left):  # its session is ended already
                advance()
        if theirs:
            theirs(group, items)

    return start(progress_callback=report, **options)


@cache
def _holder_class(xet: Any) -> Any:
    class Holder(xet.XetSessionHolder):
        def get(self) -> _Reporting:
            return _Reporting(super().get())

    return Holder


def _can_be_watched() -> bool:
    """Whether whatever carries the bytes tells of them: all but hf_xet in a release without sessions."""
    from huggingface_hub.utils._runtime import is_xet_available

    return not is_xet_available() or _xet_module() is not None


def _xet_module() -> Any:
    """huggingface_hub's side of hf_xet's sessions; None in releases that have none."""
    from huggingface_hub.utils import _xet

    return _xet if hasattr(_xet, "XetSessionHolder") else None


def _end_xet() -> None:
    if xet := _xet_module():
        xet.abort_xet_session()
