"""`hub_commit`: one chunk's shards in the dataset repo, by at most one commit."""

import time
from collections.abc import Iterator

from dagster import AssetCheckResult, AssetExecutionContext, MaterializeResult, asset

from r2_hf_assets.assets.checks import ON_HUB, check_result, nothing_planned
from r2_hf_assets.assets.metadata import commit_metadata, result_for, unplanned_result
from r2_hf_assets.assets.parquet_shards import parquet_shards
from r2_hf_assets.assets.partitions import chunk_partitions, read_key
from r2_hf_assets.assets.resources import SettingsResource
from r2_hf_assets.assets.runs import user_errors, warn_if_forgetful
from r2_hf_assets.assets.signs_of_life import SignsOfLife
from r2_hf_assets.errors import ShardError
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import commit_chunk
from r2_hf_assets.hub.verify import check_on_hub
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.shards.store import open_shards


@asset(
    partitions_def=chunk_partitions,
    deps=[parquet_shards],
    group_name="speech_dataset",
    kinds={"huggingface"},
    owners=["team:speech-data"],
    tags={"domain": "podcast-speech"},
    pool="hub",
    check_specs=[ON_HUB],
)
def hub_commit(
    context: AssetExecutionContext, settings: SettingsResource, signs_of_life: SignsOfLife
) -> Iterator[MaterializeResult | AssetCheckResult]:
    """A chunk's shards on the Hub: at most one commit, none when the head holds them already.

    Adds what differs, removes this chunk's stale parts, touches nothing else. Its materializations are the progress
    record.
    """
    with user_errors(context):
        warn_if_forgetful(context)
        loaded = settings.load("r2", "hub")
        assert loaded.r2 is not None and loaded.hub is not None
        language, number = read_key(context.partition_key)
        chunk = open_plan(loaded.plan, loaded.r2).find(language, number)
        if chunk is None:
            yield unplanned_result(nothing_planned(ON_HUB))
            return
        shards = open_shards(loaded.shards, loaded.r2)
        record = shards.record(language, number)
        if record is None or record.digest != chunk.digest:
            raise ShardError(
                f"{context.partition_key} is not built; materialize parquet_shards for this partition first"
            )
        started = time.monotonic()
        signs_of_life.stop_if_ended()
        repo = HubClient(loaded.hub)
        commit = commit_chunk(repo, record, lambda files: shards.files(language, files), log=context.log.warning)
        on_hub = check_on_hub(repo, record, commit.oid, log=context.log.warning)
        if not on_hub.passed:
            yield check_result(ON_HUB, on_hub)
            raise ShardError(f"{context.partition_key}: the Hub does not hold what was built: {on_hub.summary}")
        shards.discard(record)
        context.log.info(f"{'committed' if commit.committed else 'nothing to commit'}: {commit.url}")
        metadata = commit_metadata(commit, record, time.monotonic() - started)
        yield result_for(record.digest, metadata, [check_result(ON_HUB, on_hub)])
