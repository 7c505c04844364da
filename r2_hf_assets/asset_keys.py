"""Keys of the assets, for modules that must not import the assets."""

import dagster as dg

WORK_PLAN = dg.AssetKey("work_plan")
SHARDS = dg.AssetKey("parquet_shards")
COMMIT = dg.AssetKey("hub_commit")
CARD = dg.AssetKey("dataset_card")
DATASET = dg.AssetKey("dataset")
