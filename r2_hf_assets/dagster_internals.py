"""All that the product uses of Dagster without a promise: names from `dagster._core`, and tags that are not documented.

No other module imports from there, and a test holds it: who tries a new release of Dagster reads this file and runs the
tests. pyproject.toml pins `dagster` below the next minor release. Each group says what it is for and which public call
is missing.
"""

# The type of a repository's `asset_graph`, by which a backfill is read.
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

# Data versions. `DataVersion` on a MaterializeResult is public; an event that no step returns (reconcile, import, a
# chunk that is due again) must carry the same tags, or staleness and the grid tell the two apart. AssetMaterialization
# has no argument for it, and `get_latest_tags_by_partition` names tags.
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)

# The tags by which the UI finds the dimensions of a multi-partition key in such an event.
from dagster._core.definitions.partitions.utils.multi import get_tags_from_multi_partition_key

# A stored backfill of assets that the definitions no longer have can't be read; public code never meets one.
from dagster._core.errors import DagsterDefinitionChangedDeserializationError

# A partition is red in the grid only after a run that planned and did not make it: `report_runless_asset_event` can't
# say so. And why a run failed (Ctrl-C against an error) stands in the event alone.
from dagster._core.events import AssetMaterializationPlannedData, RunFailureReason

# Backfills that still owe partitions: `get_backfills` is public, what it filters by and answers is not.
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, BulkActionsFilter, BulkActionStatus

# DAGSTER_HOME read without opening its databases, which would make them.
from dagster._core.instance.ref import InstanceRef

# What a run launcher answers about a run.
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus

# Which statuses are final: a list of one's own would miss a new one.
from dagster._core.storage.dagster_run import FINISHED_STATUSES, NOT_FINISHED_STATUSES

# What `DagsterInstance.get_status_by_partition` answers.
from dagster._core.storage.partition_status_cache import AssetPartitionStatus

# Tags that Dagster sets on runs, or reads from them; the documentation names their texts and no constants.
from dagster._core.storage.tags import (
    BACKFILL_ID_TAG,
    MAX_RETRIES_TAG,
    PARTITION_NAME_TAG,
    RETRY_ON_ASSET_OR_OP_FAILURE_TAG,
    SENSOR_NAME_TAG,
)

# The id of a run that has no code: `DagsterInstance.add_run` takes a run and makes none.
from dagster._core.utils import make_new_run_id

# A check specification with partitions is in preview and warns at each import; the warning is silenced by its class.
from dagster_shared.utils.warnings import PreviewWarning

# Tags whose names begin so are stored and queried as any other, and left out of the UI.
HIDDEN_TAG_PREFIX = ".dagster/"

__all__ = [
    "BACKFILL_ID_TAG",
    "BULK_ACTION_TERMINAL_STATUSES",
    "CODE_VERSION_TAG",
    "DATA_VERSION_IS_USER_PROVIDED_TAG",
    "DATA_VERSION_TAG",
    "FINISHED_STATUSES",
    "HIDDEN_TAG_PREFIX",
    "MAX_RETRIES_TAG",
    "NOT_FINISHED_STATUSES",
    "NULL_EVENT_POINTER",
    "PARTITION_NAME_TAG",
    "RETRY_ON_ASSET_OR_OP_FAILURE_TAG",
    "SENSOR_NAME_TAG",
    "AssetMaterializationPlannedData",
    "AssetPartitionStatus",
    "BaseAssetGraph",
    "BulkActionStatus",
    "BulkActionsFilter",
    "CheckRunHealthResult",
    "DagsterDefinitionChangedDeserializationError",
    "InstanceRef",
    "PreviewWarning",
    "RunFailureReason",
    "WorkerStatus",
    "get_input_data_version_tag",
    "get_input_event_pointer_tag",
    "get_tags_from_multi_partition_key",
    "make_new_run_id",
]
