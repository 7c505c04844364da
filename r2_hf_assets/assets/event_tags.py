"""The tags of a materialization that is recorded as an event of its own, and not as the result of a step.

They are those that Dagster gives to the result of a run of one partition, so that nothing tells the two apart: not what
is due, not the grid in the UI, not whether a chunk is up to date.
"""

from dagster import AssetKey, MultiPartitionKey

from r2_hf_assets.asset_keys import SHARDS, WORK_PLAN
from r2_hf_assets.assets.history import data_version
from r2_hf_assets.assets.metadata import DIGEST_TAG, PLAN_VERSION
from r2_hf_assets.dagster_internals import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
    get_tags_from_multi_partition_key,
)
from r2_hf_assets.plan.due import is_digest


def event_tags(
    asset: AssetKey, digest: str, key: MultiPartitionKey, code_version: str, dataset: str | None = None
) -> dict[str, str]:
    """The digest (or what stands in its place), the partition, and what it was made from.

    Without the latter Dagster goes by time, and the next scan would show every recorded chunk as out of date.

    Args:
        dataset: of a commit, the repo that it was made in.
        code_version: who recorded it; Dagster itself writes the run's id.
    """
    upstream, version = (WORK_PLAN, PLAN_VERSION) if asset == SHARDS else (SHARDS, digest)
    return {
        **({DIGEST_TAG: digest} if is_digest(digest) else {}),
        DATA_VERSION_TAG: data_version(digest, dataset),
        DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
        CODE_VERSION_TAG: code_version,
        get_input_data_version_tag(upstream): version,
        get_input_event_pointer_tag(upstream): NULL_EVENT_POINTER,
        **get_tags_from_multi_partition_key(key),
    }
