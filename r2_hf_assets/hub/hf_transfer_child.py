"""hf_transfer in a process of its own, for huggingface_hub 0.36 with HF_HUB_ENABLE_HF_TRANSFER=1.

Its upload (0.1.9) has no timeout, and holds Python's global lock from its beginning to its end: no thread of the
process runs meanwhile, so nothing could give it up, and the run would show no heartbeat. A child can be killed. What
it has sent can't be seen, for it sends all parts at once, so it gets the time that a slow line needs.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from r2_hf_assets import activity
from r2_hf_assets.hub.errors import TransferBroken

# What a line must do. Slower ones do without HF_HUB_ENABLE_HF_TRANSFER.
_SLOWEST_BYTES_PER_S = 100_000
_LEAST_S = 420.0
# Linux ends the child with the thread that started it (PR_SET_PDEATHSIG, SIGKILL). The URLs are signed: they go over
# stdin, and not into the list of processes.
_CHILD = """
import contextlib, ctypes, json, sys
with contextlib.suppress(AttributeError):
    ctypes.CDLL(None).prctl(1, 9)
import hf_transfer
print(json.dumps(hf_transfer.multipart_upload(**json.load(sys.stdin))))
"""


def use_a_child() -> None:
    """Let huggingface_hub call hf_transfer's upload in a child. Does nothing where it does not use hf_transfer."""
    from huggingface_hub import constants

    if getattr(constants, "HF_HUB_ENABLE_HF_TRANSFER", False):
        import hf_transfer  # type: ignore[import-untyped]

        hf_transfer.multipart_upload = multipart_upload


def multipart_upload(
    file_path: str, *, parts_urls: Sequence[str], callback: Callable[[int], Any] | None = None, **options: Any
) -> list[dict[str, str]]:
    """hf_transfer's function of this name: upload a file in parts, and return the headers of each part's answer.

    Raises:
        TimeoutError: it took longer than a slow line takes.
        TransferBroken: it failed; the first line says why.
    """
    size = Path(file_path).stat().st_size
    limit_s = _LEAST_S + size / _SLOWEST_BYTES_PER_S
    activity.advance(limit_s)
    asked = json.dumps({"file_path": file_path, "parts_urls": list(parts_urls), **options})
    try:
        child = subprocess.run(
            [sys.executable, "-c", _CHILD], input=asked, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"hf_transfer did not end in {limit_s:.0f} s") from None
    if child.returncode:
        raise TransferBroken((child.stderr.splitlines() or ["hf_transfer failed"])[-1])
    if callback:
        callback(size)
    return json.loads(child.stdout)
