"""Keys of the assets: history, sensors and jobs name assets by them without importing what makes them."""

from dagster import AssetKey

WORK_PLAN = AssetKey("work_plan")
SHARDS = AssetKey("parquet_shards")
COMMIT = AssetKey("hub_commit")
CARD = AssetKey("dataset_card")
