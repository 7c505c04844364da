"""All that the product uses of Dagster without a promise: names from `dagster._core`, and tags that are not documented.

No other module imports from there, and a test holds it: who tries a new release of Dagster reads this file and runs the
tests. pyproject.toml pins `dagster` below the next minor release. Each group says what it is for and which public call
is missing. `X as X` marks a name as re-exported.
"""

# Data versions. `DataVersion` on a MaterializeResult is public; an event that no step returns (reconcile, import, a
# chunk that is due again) must carry the same tags, or staleness and the grid tell the two apart. AssetMaterialization
# has no argument for it, and `get_latest_tags_by_partition` names tags.
from dagster._core.definitions.data_version import CODE_VERSION_TAG as CODE_VERSION_TAG
from dagster._core.definitions.data_version import (
    DATA_VERSION_IS_USER_PROVIDED_TAG as DATA_VERSION_IS_USER_PROVIDED_TAG,
)
from dagster._core.definitions.data_version import DATA_VERSION_TAG as DATA_VERSION_TAG
from dagster._core.definitions.data_version import NULL_EVENT_POINTER as NULL_EVENT_POINTER
from dagster._core.definitions.data_version import get_input_data_version_tag as get_input_data_version_tag
from dagster._core.definitions.data_version import get_input_event_pointer_tag as get_input_event_pointer_tag

# The tags by which the UI finds the dimensions of a multi-partition key in such an event.
from dagster._core.definitions.partitions.utils.multi import (
    get_tags_from_multi_partition_key as get_tags_from_multi_partition_key,
)

# A partition is red in the grid only after a run that planned and did not make it: `report_runless_asset_event` can't
# say so. And why a run failed (Ctrl-C against an error) stands in the event alone.
from dagster._core.events import AssetMaterializationPlannedData as AssetMaterializationPlannedData
from dagster._core.events import RunFailureReason as RunFailureReason

# What `DagsterInstance.get_run_step_stats` answers of a step.
from dagster._core.execution.stats import StepEventStatus as StepEventStatus

# DAGSTER_HOME read without opening its databases, which would make them.
from dagster._core.instance.ref import InstanceRef as InstanceRef

# What a run launcher answers about a run.
from dagster._core.launcher import CheckRunHealthResult as CheckRunHealthResult
from dagster._core.launcher import WorkerStatus as WorkerStatus

# Which statuses are final: a list of one's own would miss a new one.
from dagster._core.storage.dagster_run import FINISHED_STATUSES as FINISHED_STATUSES
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES as NOT_FINISHED_STATUSES

# What `DagsterInstance.get_status_by_partition` answers.
from dagster._core.storage.partition_status_cache import AssetPartitionStatus as AssetPartitionStatus

# Tags that Dagster sets on runs, or reads from them; the documentation names their texts and no constants.
from dagster._core.storage.tags import BACKFILL_ID_TAG as BACKFILL_ID_TAG
from dagster._core.storage.tags import MAX_RETRIES_TAG as MAX_RETRIES_TAG
from dagster._core.storage.tags import PARTITION_NAME_TAG as PARTITION_NAME_TAG
from dagster._core.storage.tags import RETRY_ON_ASSET_OR_OP_FAILURE_TAG as RETRY_ON_ASSET_OR_OP_FAILURE_TAG
from dagster._core.storage.tags import SENSOR_NAME_TAG as SENSOR_NAME_TAG

# The id of a run that has no code: `DagsterInstance.add_run` takes a run and makes none.
from dagster._core.utils import make_new_run_id as make_new_run_id

# A check specification with partitions is in preview and warns at each import; the warning is silenced by its class.
from dagster_shared.utils.warnings import PreviewWarning as PreviewWarning

# Tags whose names begin so are stored and queried as any other, and left out of the UI.
HIDDEN_TAG_PREFIX = ".dagster/"
