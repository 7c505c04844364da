"""`hub_commit`: a chunk's shards in the dataset repo by at most one commit; with CHUNKS_PER_COMMIT those of several."""

import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from dagster import AssetCheckResult, AssetExecutionContext, FreshnessPolicy, MaterializeResult, Output, asset

from r2_hf_assets.assets.checks import ON_HUB, check_result, nothing_planned
from r2_hf_assets.assets.claim import claim_of, patience
from r2_hf_assets.assets.metadata import commit_metadata, result_for, unplanned_result
from r2_hf_assets.assets.outcome import Outcome
from r2_hf_assets.assets.parquet_shards import parquet_shards
from r2_hf_assets.assets.partitions import chunk_backfills, chunk_partitions, partition_key, read_key
from r2_hf_assets.assets.ranges import commit_range, is_range
from r2_hf_assets.assets.resources import SettingsResource
from r2_hf_assets.assets.runs import user_errors, warn_if_forgetful
from r2_hf_assets.assets.signs_of_life import SignsOfLife
from r2_hf_assets.errors import DamagedShard, ShardError
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import CommitRecord, commit_chunks
from r2_hf_assets.hub.ownership import Claim
from r2_hf_assets.hub.verify import check_on_hub
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets.shards.store import ShardStore, open_shards


@asset(
    partitions_def=chunk_partitions,
    backfill_policy=chunk_backfills,
    deps=[parquet_shards],
    group_name="speech_dataset",
    kinds={"huggingface"},
    owners=["team:speech-data"],
    tags={"domain": "podcast-speech"},
    pool="hub",
    # A dataset that is to keep growing and does not: the UI says so after a week, and loudly after a month.
    freshness_policy=FreshnessPolicy.time_window(fail_window=timedelta(days=30), warn_window=timedelta(days=7)),
    check_specs=[ON_HUB],
)
def hub_commit(
    context: AssetExecutionContext, settings: SettingsResource, signs_of_life: SignsOfLife
) -> Iterator[MaterializeResult | AssetCheckResult | Output[Any]]:
    """A chunk's shards on the Hub: at most one commit, none when the head holds them already.

    Adds what differs, removes this chunk's stale parts, touches nothing else. Its materializations are the progress
    record. With CHUNKS_PER_COMMIT one commit takes several chunks, and each has its own record.
    """
    with user_errors(context):
        warn_if_forgetful(context)
        loaded = settings.load("r2", "hub")
        assert loaded.r2 is not None and loaded.hub is not None
        plan, shards = open_plan(loaded.plan, loaded.r2), open_shards(loaded.shards, loaded.r2)
        repo = HubClient(loaded.hub)
        conclude = partial(_conclude, context, repo, shards)
        claim = claim_of(context.instance, plan, shards)
        commit = partial(_commit, context, repo, shards, claim, signs_of_life)
        if is_range(context):
            yield from commit_range(context, plan, shards, loaded.hub.chunks_per_commit, commit, conclude)
            return
        language, number = read_key(context.partition_key)
        chunk = plan.find(language, number)
        if chunk is None:
            yield unplanned_result(nothing_planned(ON_HUB))
            return
        record = shards.record(language, number)
        if record is None or record.digest != chunk.digest:
            raise ShardError(
                f"{context.partition_key} is not built; materialize parquet_shards for this partition first"
            )
        started = time.monotonic()
        (committed,) = commit([record])
        if isinstance(committed, ShardError):
            raise committed
        done = conclude(record, committed, time.monotonic() - started)
        if done.error is not None:
            yield from done.checks
            raise done.error
        yield result_for(done.digest, done.metadata, done.checks, done.dataset)


def _commit(
    context: AssetExecutionContext,
    repo: HubClient,
    shards: ShardStore,
    claim: Claim,
    signs_of_life: SignsOfLife,
    records: Sequence[BuildRecord],
) -> list[CommitRecord | ShardError]:
    """Commit chunks at once. A shard that is damaged is dropped: it must not wait for the next commit."""
    signs_of_life.stop_if_ended()
    done = commit_chunks(
        repo,
        records,
        lambda record, files: shards.files(record.language, files),
        claim,
        retry=patience(signs_of_life),
        log=context.log.warning,
    )
    for record, outcome in zip(records, done, strict=True):
        if isinstance(outcome, DamagedShard):
            shards.drop(record)
    return done


def _conclude(
    context: AssetExecutionContext,
    repo: HubClient,
    shards: ShardStore,
    record: BuildRecord,
    committed: CommitRecord,
    seconds: float,
) -> Outcome:
    """Ask the Hub whether the chunk is there, and let its local shards go."""
    key = partition_key(record.language, record.number)
    on_hub = check_on_hub(repo, record, committed.oid, log=context.log.warning)
    check = check_result(ON_HUB, on_hub)
    if not on_hub.passed:
        error = ShardError(f"{key}: the Hub does not hold what was built: {on_hub.summary}")
        return Outcome(record.digest, {}, (check,), error)
    shards.discard(record)
    context.log.info(f"{key}: {'committed' if committed.committed else 'nothing to commit'}: {committed.url}")
    metadata = commit_metadata(committed, record, repo.repo_id, seconds)
    return Outcome(record.digest, metadata, (check,), dataset=repo.repo_id)
