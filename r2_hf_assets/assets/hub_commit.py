"""`hub_commit`: a chunk's shards in the dataset repo by at most one commit."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from dagster import AssetCheckResult, AssetExecutionContext, FreshnessPolicy, MaterializeResult, asset

from r2_hf_assets import retry as retries
from r2_hf_assets.assets.parquet_shards import parquet_shards
from r2_hf_assets.checks import ON_HUB, check_result
from r2_hf_assets.errors import DamagedShard, ShardError
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import commit_chunk
from r2_hf_assets.hub.reads import check_on_hub
from r2_hf_assets.partitions import chunk_partitions, read_key
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.resources import SettingsResource
from r2_hf_assets.runs.claim import claim_of
from r2_hf_assets.runs.heartbeat import RunHeartbeat
from r2_hf_assets.runs.metadata import commit_metadata, result_for, unplanned_result
from r2_hf_assets.runs.outcome import report_user_errors, warn_if_ephemeral
from r2_hf_assets.shards.builds import open_builds


@asset(
    partitions_def=chunk_partitions,
    deps=[parquet_shards],
    group_name="speech_dataset",
    kinds={"huggingface"},
    pool="hub",
    # A dataset that is to keep growing and does not: the UI warns after a week, and fails it after a month.
    freshness_policy=FreshnessPolicy.time_window(fail_window=timedelta(days=30), warn_window=timedelta(days=7)),
    check_specs=[ON_HUB],
)
def hub_commit(
    context: AssetExecutionContext, settings: SettingsResource, run_heartbeat: RunHeartbeat
) -> Iterator[MaterializeResult | AssetCheckResult]:
    """A chunk's shards on the Hub: at most one commit, none when the head holds them already.

    Adds what differs, removes this chunk's stale parts, touches nothing else. Its materializations are the progress
    record.
    """
    with report_user_errors(context):
        warn_if_ephemeral(context)
        loaded = settings.load()
        plan, builds = open_plan(loaded.plan, loaded.r2), open_builds(loaded.plan, loaded.r2)
        chunk = plan.find(*read_key(context.partition_key))
        if chunk is None:
            yield unplanned_result([ON_HUB])
            return
        # Waits in the slot of the pool, so that queued runs wait too; a run that was ended lets the slot go.
        retry = replace(retries.COMMIT_RETRY, sleep=run_heartbeat.sleep)
        repo = HubClient(loaded.hub, context.log.warning, retry)
        record = builds.find(*chunk.name, chunk.digest, repo.dataset)
        if record is None:
            raise ShardError(
                f"{context.partition_key} is not built; materialize parquet_shards for this partition first"
            )
        run_heartbeat.raise_if_terminated()
        started, claim = time.monotonic(), claim_of(context.instance, plan, builds)
        try:
            done = commit_chunk(repo, record, claim)
        except DamagedShard:
            builds.invalidate(record)
            raise
        seconds = time.monotonic() - started
        on_hub = check_on_hub(repo, record, done.oid)
        check = check_result(ON_HUB, on_hub)
        if not on_hub.passed:
            yield check
            raise ShardError(f"{context.partition_key}: the Hub does not hold what was built: {on_hub.summary}")
        context.log.info(f"{'committed' if done.committed else 'nothing to commit'}: {done.url}")
        yield result_for(record.digest, commit_metadata(done, record, repo.repo_id, seconds), [check], repo.repo_id)
