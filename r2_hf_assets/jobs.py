"""Jobs, started by sensors, schedules and the Jobs page: scan, build and commit of a partition, check of the dataset.

They select the assets of the asset graph, so history, checks and retries do not depend on how a run was started. Runs
of a partition can be filtered by Dagster's tag dagster/partition/language.
"""

import dagster as dg

from r2_hf_assets.asset_keys import COMMIT, SHARDS, WORK_PLAN
from r2_hf_assets.assets.external import whole_dataset

KIND_TAG = "r2_hf_assets/kind"
SCAN_JOB = "scan_job"

scan_job = dg.define_asset_job(
    SCAN_JOB,
    dg.AssetSelection.assets(WORK_PLAN),
    description="Plans new episodes: work_plan and its check.",
    tags={KIND_TAG: "scan"},  # dagster.yaml limits it to one run at a time
)

build_job = dg.define_asset_job(
    "build_job",
    dg.AssetSelection.assets(SHARDS, COMMIT),
    description="Builds one planned partition and commits it: parquet_shards, then hub_commit.",
)

check_job = dg.define_asset_job(
    "check_job",
    dg.AssetSelection.checks(whole_dataset),
    description="Compares plan, history and Hub: the check whole_dataset. Changes nothing.",
)
