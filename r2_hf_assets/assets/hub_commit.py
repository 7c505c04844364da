"""`hub_commit`: adds a chunk's shards to the dataset repo in at most one commit."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import dagster as dg

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
from r2_hf_assets.runs.outcome import report_user_errors
from r2_hf_assets.shards.builds import open_builds


@dg.asset(
    partitions_def=chunk_partitions,
    deps=[parquet_shards],
    group_name="speech_dataset",
    kinds={"huggingface"},
    pool="hub",
    # The UI warns if no commit is recorded for a week, and reports failure after a month.
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(days=30), warn_window=timedelta(days=7)),
    check_specs=[ON_HUB],
)
def hub_commit(
    context: dg.AssetExecutionContext, settings: SettingsResource, run_heartbeat: RunHeartbeat
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """A chunk's shards on the Hub: one commit, or none if the head already holds them.

    Adds what differs, removes the chunk's stale parts, and changes no other file. Its materializations are the
    progress record.
    """
    with report_user_errors(context):
        loaded = settings.load()
        plan, builds = open_plan(loaded.plan, loaded.r2), open_builds(loaded.plan, loaded.r2)
        chunk = plan.find(*read_key(context.partition_key))
        if chunk is None:
            yield unplanned_result([ON_HUB])
            return
        # A backoff keeps the pool's slot, so queued runs wait too; a terminated run frees it.
        waits: list[float] = []
        retry = replace(run_heartbeat.commit_retry(), on_quota=waits.append)
        repo = HubClient(loaded.hub, context.log.warning, retry)
        record = builds.find(*chunk.name, chunk.digest, repo.dataset)
        if record is None:
            raise ShardError(
                f"{context.partition_key} is not built as it is planned; materialize parquet_shards for it first"
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
            raise ShardError(f"{context.partition_key}: the files on the Hub differ from the build: {on_hub.summary}")
        context.log.info(f"{'committed' if done.committed else 'nothing to commit'}: {done.url}")
        metadata = commit_metadata(done, record, repo.repo_id, seconds, sum(waits))
        yield result_for(record.digest, metadata, [check], repo.repo_id)
