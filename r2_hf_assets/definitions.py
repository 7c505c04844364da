"""All Dagster objects of the project."""

import dagster as dg

from r2_hf_assets.assets.dataset_card import card_job, dataset_card
from r2_hf_assets.assets.external import dataset, episodes, whole_dataset
from r2_hf_assets.assets.hub_commit import hub_commit
from r2_hf_assets.assets.parquet_shards import parquet_shards
from r2_hf_assets.assets.work_plan import work_plan
from r2_hf_assets.checks import plan
from r2_hf_assets.jobs import build_job, check_job, refresh_job, remove_job, scan_job
from r2_hf_assets.resources import settings_resource
from r2_hf_assets.runs.heartbeat import RunHeartbeat
from r2_hf_assets.schedules import check_schedule, refresh_schedule, scan_schedule
from r2_hf_assets.sensors.alerts import alerts
from r2_hf_assets.sensors.lost_runs import lost_runs
from r2_hf_assets.sensors.new_episodes import new_episodes
from r2_hf_assets.sensors.planned_chunks import planned_chunks
from r2_hf_assets.sensors.stale_card import stale_card

defs = dg.Definitions(
    assets=[episodes, work_plan, parquet_shards, hub_commit, dataset, dataset_card],
    asset_checks=[plan, whole_dataset],
    jobs=[scan_job, build_job, card_job, check_job, remove_job, refresh_job],
    schedules=[scan_schedule, check_schedule, refresh_schedule],
    sensors=[new_episodes, planned_chunks, stale_card, lost_runs, alerts],
    resources={"settings": settings_resource, "run_heartbeat": RunHeartbeat()},
    # A run's two steps are sequential: a process per step would only repeat the imports.
    executor=dg.in_process_executor,
)
