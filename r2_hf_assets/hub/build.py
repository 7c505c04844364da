"""Build a chunk into the Hub's content store, where no file is visible before a commit, and check the result.

Over Xet (upload_xet.py) the bytes are sent as they are produced, without a disk. On a Hub without Xet, and with
HF_HUB_DISABLE_XET or KEEP_SHARDS, a part is a scratch file that is uploaded over LFS (upload_files.py).

A chunk whose upload fails is built once more (STREAM_RETRY in retry.py).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import ShardError
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.upload_files import open_files
from r2_hf_assets.hub.upload_xet import open_xet
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.retry import STREAM_RETRY
from r2_hf_assets.settings import BucketSettings, ShardSettings
from r2_hf_assets.shards.build import LEDGER, Build, build_chunk
from r2_hf_assets.shards.record import Tally
from r2_hf_assets.shards.writer import Upload
from r2_hf_assets.verdict import Verdict


class CheckFailed(ShardError):
    """A check failed, so the built chunk is not recorded. `verdicts` has every check's verdict, by name."""

    def __init__(self, line: str, verdicts: dict[str, Verdict]) -> None:
        super().__init__(line)
        self.verdicts = verdicts


def build_on_hub(
    chunk: ChunkManifest,
    r2: BucketSettings,
    repo: HubClient,
    limits: ShardSettings,
    *,
    plan_id: str,
    progress: Callable[[Tally], None] | None = None,
) -> Build:
    """Build a chunk and upload its content. The record has the checks' verdicts.

    Raises AccessError, RetriesExhausted, CheckFailed if the ledger does not balance, and StillUploading if an episode's
    upload is not finished.
    """

    def attempt() -> Build:
        with open_upload(repo, limits, chunk.language, chunk.number) as upload:
            bucket = Bucket(r2)
            build = build_chunk(chunk, bucket, upload, limits, plan_id=plan_id, workers=r2.workers, progress=progress)
            verdicts = dict(build.record.verdicts)
            if not verdicts[LEDGER].passed:
                raise CheckFailed(f"the {LEDGER} check failed: {verdicts[LEDGER].summary}; not recorded", verdicts)
        return replace(build, record=replace(build.record, dataset=repo.dataset))

    return repo.call_with_retry("upload to", attempt, STREAM_RETRY)


def open_upload(repo: HubClient, limits: ShardSettings, language: str, number: int) -> AbstractContextManager[Upload]:
    """Open the upload of a chunk: the content is on the Hub when the block ends without an error."""
    access = None if limits.keep else repo.call_with_retry("read", repo.xet)
    return open_xet(repo, access) if access else open_files(repo, limits, language, number)
