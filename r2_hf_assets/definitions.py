"""Every Dagster object of the project, listed."""

from dagster import Definitions, in_process_executor

from r2_hf_assets.assets.checks import plan
from r2_hf_assets.assets.hub_commit import hub_commit
from r2_hf_assets.assets.lost_retries import lost_retries
from r2_hf_assets.assets.lost_runs import lost_runs
from r2_hf_assets.assets.parquet_shards import parquet_shards
from r2_hf_assets.assets.reconcile import reconcile_job
from r2_hf_assets.assets.resources import r2_resource, settings_resource
from r2_hf_assets.assets.signs_of_life import SignsOfLife
from r2_hf_assets.assets.work_plan import work_plan

defs = Definitions(
    assets=[work_plan, parquet_shards, hub_commit],
    asset_checks=[plan],
    jobs=[reconcile_job],
    sensors=[lost_runs, lost_retries],
    resources={"settings": settings_resource, "r2": r2_resource, "signs_of_life": SignsOfLife()},
    # A run is one chunk and its two steps follow each other: a process for each would only import everything again.
    executor=in_process_executor,
)
