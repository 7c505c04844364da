"""Build a chunk into the Hub's content store, where no file is visible before a commit, and check what was built.

Over Xet (upload_xet.py) the bytes are sent as they are produced, without a disk. On a Hub without Xet, and with
HF_HUB_DISABLE_XET or KEEP_SHARDS, a part is a scratch file that is uploaded over LFS (upload_files.py).

A chunk whose upload breaks off is built once more. hf_xet itself retries requests for minutes, and its errors do not
tell a refusal from a transient one, so further attempts are left to a later run. Each attempt sends its content anew:
the Hub deduplicates only against files that were finished.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from r2_hf_assets.bucket.client import object_store
from r2_hf_assets.errors import ShardError
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import ask
from r2_hf_assets.hub.upload_files import open_files, sweep
from r2_hf_assets.hub.upload_xet import open_xet
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.retry import STREAM_RETRY, Retry
from r2_hf_assets.settings import BucketSettings, ShardSettings
from r2_hf_assets.shards.build import LEDGER, Build, build_chunk
from r2_hf_assets.shards.record import Tally
from r2_hf_assets.shards.writer import Upload
from r2_hf_assets.verdict import Verdict


class CheckFailed(ShardError):
    """A check failed, so the built chunk is not recorded. `verdicts` has the verdict of every check, by name."""

    def __init__(self, line: str, verdicts: dict[str, Verdict]) -> None:
        super().__init__(line)
        self.verdicts = verdicts


def build_on_hub(
    chunk: Chunk,
    bucket: BucketSettings,
    repo: HubClient,
    limits: ShardSettings,
    *,
    progress: Callable[[Tally], None] | None = None,
    retry: Retry | None = None,
    log: Callable[[str], None] | None = None,
) -> Build:
    """Build a chunk and upload its content; the returned record has the checks' verdicts.

    Args:
        retry: for single requests to the Hub.

    Raises:
        AccessError: the bucket or the Hub refuses.
        CheckFailed: the ledger does not balance.
        GaveUp: transient errors outlasted the retries.
        StillUploading: an episode's upload is not finished yet.
    """

    def attempt() -> Build:
        with open_upload(repo, limits, chunk.language, chunk.number, retry=retry, log=log) as upload:
            store = object_store(bucket)
            build = build_chunk(chunk, store, upload, limits, workers=bucket.workers, progress=progress)
            ledger = build.record.verdicts[LEDGER]
            if not ledger.passed:
                line = f"the {LEDGER} check failed: {ledger.summary}; not recorded"
                raise CheckFailed(line, dict(build.record.verdicts))
        return replace(build, record=replace(build.record, dataset=repo.dataset))

    again = replace(STREAM_RETRY, sleep=retry.sleep) if retry else STREAM_RETRY
    return ask(repo, "upload to", attempt, again, log)


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
    """Open the upload of a chunk: the content is on the Hub when the block ends without an error.

    Args:
        retry: for requests that can be repeated without building the chunk again.

    Raises:
        AccessError, GaveUp: the Hub refuses, or its transient errors outlasted the retries.
        DiskError: a scratch file can't be written.
        TransferBroken, TimeoutError: the stream broke off or stalled.
    """
    sweep(limits)
    access = None if limits.keep else ask(repo, "look at", repo.xet, retry, log)
    route = open_xet(repo, access) if access else open_files(repo, limits, language, number, retry, log)
    with route as upload:
        yield upload
