"""`hub_commit`: one chunk's shards in the dataset repo, by at most one commit."""

import time

from dagster import AssetExecutionContext, MaterializeResult, asset

from r2_hf_assets.assets.metadata import commit_metadata, result_for, unplanned_result
from r2_hf_assets.assets.parquet_shards import parquet_shards
from r2_hf_assets.assets.partitions import chunk_partitions, read_key
from r2_hf_assets.assets.resources import SettingsResource
from r2_hf_assets.assets.runs import user_errors, warn_if_forgetful
from r2_hf_assets.errors import ShardError
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import commit_chunk
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
)
def hub_commit(context: AssetExecutionContext, settings: SettingsResource) -> MaterializeResult:
    """A chunk's shards on the Hub: at most one commit, none when the head holds them already.

    Adds what differs, removes this chunk's stale parts, touches nothing else. Its materializations are the progress
    record.
    """
    with user_errors():
        warn_if_forgetful(context)
        loaded = settings.load("r2", "hub")
        assert loaded.r2 is not None and loaded.hub is not None
        language, number = read_key(context.partition_key)
        chunk = open_plan(loaded.plan, loaded.r2).read(language, number)
        if chunk is None:
            return unplanned_result()
        shards = open_shards(loaded.shards, loaded.r2)
        record = shards.record(language, number)
        if record is None or record.digest != chunk.digest:
            raise ShardError(
                f"{context.partition_key} is not built; materialize parquet_shards for this partition first"
            )
        started = time.monotonic()
        commit = commit_chunk(
            HubClient(loaded.hub), record, lambda files: shards.files(language, files), log=context.log.warning
        )
        shards.discard(record)
        context.log.info(f"{'committed' if commit.committed else 'nothing to commit'}: {commit.url}")
        return result_for(record.digest, commit_metadata(commit, record, time.monotonic() - started))
