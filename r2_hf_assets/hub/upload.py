"""Content uploads: a chunk's parts go into the Hub's content store while they are written, where nobody sees them.

Over Xet (upload_xet.py) the bytes are sent as they come, and nothing touches a disk. Else (a Hub without Xet,
HF_HUB_DISABLE_XET, KEEP_SHARDS) a part goes over LFS, by way of a scratch file (upload_files.py).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import ask
from r2_hf_assets.hub.upload_files import open_files, sweep
from r2_hf_assets.hub.upload_xet import open_xet
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import ShardSettings
from r2_hf_assets.shards.writer import Upload


@contextmanager
def open_upload(
    repo: HubClient,
    limits: ShardSettings,
    language: str,
    number: int,
    *,
    retry: Retry | None = None,
    log: Callable[[str], None] | None = None,
) -> Iterator[Upload]:
    """The upload of a chunk. What was written is on the Hub, invisible, when the block ends well; an error ends it.

    Args:
        retry: for the requests that can be made again without the chunk being built again.

    Raises:
        AccessError, GaveUp: the Hub refuses, or its transient errors outlasted the retries.
        DiskError: a scratch file can't be written.
        TransferBroken, TimeoutError: the stream broke off, or nothing moved.
    """
    sweep(limits)
    access = None if limits.keep else ask(repo, "look at", repo.xet, retry, log)
    if access is None:
        with open_files(repo, limits, language, number, retry, log) as upload:
            yield upload
    else:
        with open_xet(repo, access) as upload:
            yield upload
