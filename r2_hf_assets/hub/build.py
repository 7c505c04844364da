"""Builds a chunk straight into the Hub's content store, and checks it: nothing of it is staged, and nothing is visible.

When the stream breaks off, the chunk is built once more. That is rare: hf_xet repeats requests by itself for minutes.
It is not done more often, because of a refusal midway hf_xet does not say that it is one, and a later run is as good as
a further try. What was sent is sent again then: the Hub knows blocks by the files that were finished with them.
"""

from collections.abc import Callable
from dataclasses import replace

from r2_hf_assets.bucket.client import object_store
from r2_hf_assets.errors import ShardError
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import ask
from r2_hf_assets.hub.upload import open_upload
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.retry import STREAM_RETRY, Retry
from r2_hf_assets.settings import BucketSettings, ShardSettings
from r2_hf_assets.shards.build import Build, build_chunk
from r2_hf_assets.shards.quality import check_all
from r2_hf_assets.shards.record import Tally
from r2_hf_assets.verdict import Severity, Verdict

LEDGER = "ledger"


class CheckFailed(ShardError):
    """A check found a built chunk wrong, so it is not recorded. `verdicts` is what every check said, by name."""

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
    """Build a chunk whose content is on the Hub afterwards; the record has the checks' verdicts.

    Args:
        retry: for requests to the Hub that can be made again by themselves.

    Raises:
        AccessError: the bucket or the Hub refuses.
        CheckFailed: the ledger does not balance, or a row was spoilt on its way.
        GaveUp: transient errors outlasted the retries.
        StillUploading: an episode's upload is not finished yet.
    """

    def attempt() -> Build:
        with open_upload(repo, limits, chunk.language, chunk.number, retry=retry, log=log) as upload:
            store = object_store(bucket)
            build = build_chunk(chunk, store, upload, limits, workers=bucket.workers, progress=progress)
            # While the last blocks are still on their way.
            record = replace(build.record, dataset=repo.dataset, verdicts=_checked(build))
        return replace(build, record=record)

    again = replace(STREAM_RETRY, sleep=retry.sleep) if retry else STREAM_RETRY
    return ask(repo, "upload to", attempt, again, log)


def _checked(build: Build) -> dict[str, Verdict]:
    verdicts = {LEDGER: build.ledger}
    if build.ledger.passed:
        verdicts |= check_all(build.observed, build.audit.key_of)
    for name, verdict in verdicts.items():
        if not verdict.passed and verdict.severity is Severity.ERROR:
            raise CheckFailed(f"the {name} check failed: {verdict.summary}; not recorded", verdicts)
    return verdicts
