"""Keys of the assets, for modules that must not import the assets."""

from dagster import AssetKey

WORK_PLAN = AssetKey("work_plan")
SHARDS = AssetKey("parquet_shards")
COMMIT = AssetKey("hub_commit")
CARD = AssetKey("dataset_card")
