"""Jobs: what sensors, schedules and the Jobs page start; and the tags of their runs.

`scan_job` plans, `build_job` builds and commits one partition, `check_job` looks at the whole dataset. They select the
same assets as the asset graph does, so history, checks and retries are the same whichever way a run was started.

The tags `language` and `chunk` of a partition's run are for people to filter by. (Runs that the asset graph or a
backfill starts belong to no job of ours; they have Dagster's own dagster/partition/language.)
"""

from dagster import AssetSelection, PartitionedConfig, define_asset_job

from r2_hf_assets.asset_keys import COMMIT, SHARDS, WORK_PLAN
from r2_hf_assets.assets.external import whole_dataset
from r2_hf_assets.partitions import chunk_partitions, chunk_tags

KIND_TAG = "r2_hf_assets/kind"
SCAN_JOB = "scan_job"

scan_job = define_asset_job(
    SCAN_JOB,
    AssetSelection.assets(WORK_PLAN),
    description="Plans what is new in the bucket: work_plan and its check.",
    tags={KIND_TAG: "scan"},  # dagster.yaml lets one of them run at a time
)

build_job = define_asset_job(
    "build_job",
    AssetSelection.assets(SHARDS, COMMIT),
    description="Builds one planned partition and commits it: parquet_shards, then hub_commit.",
    config=PartitionedConfig(
        partitions_def=chunk_partitions,
        run_config_for_partition_key_fn=lambda key: {},
        tags_for_partition_key_fn=chunk_tags,
    ),
)

check_job = define_asset_job(
    "check_job",
    AssetSelection.checks(whole_dataset),
    description="Compares plan, history and Hub: the check whole_dataset. Changes nothing.",
)
