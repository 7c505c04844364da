"""All private names and undocumented tags of Dagster that the product uses.

No other module may import from `dagster._core` (a test checks this). To try a new release of Dagster, read this file
and run the tests; pyproject.toml pins `dagster` below the next minor release. Each group states its use and the public
call that is missing. `X as X` marks a re-export.
"""

# Data versions. `DataVersion` of a MaterializeResult is public. An event without a step (reconcile, import, a chunk due
# again) needs the same tags for staleness and the grid, but AssetMaterialization has no argument for them, and
# `get_latest_tags_by_partition` requires tag names.
from dagster._core.definitions.data_version import CODE_VERSION_TAG as CODE_VERSION_TAG
from dagster._core.definitions.data_version import (
    DATA_VERSION_IS_USER_PROVIDED_TAG as DATA_VERSION_IS_USER_PROVIDED_TAG,
)
from dagster._core.definitions.data_version import DATA_VERSION_TAG as DATA_VERSION_TAG
from dagster._core.definitions.data_version import NULL_EVENT_POINTER as NULL_EVENT_POINTER
from dagster._core.definitions.data_version import get_input_data_version_tag as get_input_data_version_tag
from dagster._core.definitions.data_version import get_input_event_pointer_tag as get_input_event_pointer_tag

# Tags of such an event from which the UI reads the dimensions of a multi-partition key.
from dagster._core.definitions.partitions.utils.multi import (
    get_tags_from_multi_partition_key as get_tags_from_multi_partition_key,
)

# The grid shows a partition as failed only after a run with this event; `report_runless_asset_event` rejects it. The
# reason of a run's failure (Ctrl-C or an error) is only in the event.
from dagster._core.events import AssetMaterializationPlannedData as AssetMaterializationPlannedData
from dagster._core.events import RunFailureReason as RunFailureReason

# A step's stdout and stderr go to files. That Dagster's manager copies them to the terminal has no setting.
from dagster._core.execution.compute_logs import redirect_to_file as redirect_to_file

# Type of a status in `DagsterInstance.get_run_step_stats`.
from dagster._core.execution.stats import StepEventStatus as StepEventStatus

# Reads DAGSTER_HOME without opening its databases, which would create them; opens it with another compute log manager.
from dagster._core.instance.ref import InstanceRef as InstanceRef

# Types of a run launcher's health check.
from dagster._core.launcher import CheckRunHealthResult as CheckRunHealthResult
from dagster._core.launcher import WorkerStatus as WorkerStatus

# Types of what `all_instigator_state` and `get_ticks` return; the instance has both calls, and neither is public.
from dagster._core.scheduler.instigation import InstigatorState as InstigatorState
from dagster._core.scheduler.instigation import InstigatorTick as InstigatorTick
from dagster._core.scheduler.instigation import InstigatorType as InstigatorType
from dagster._core.scheduler.instigation import TickStatus as TickStatus

# With redirect_to_file.
from dagster._core.storage.compute_log_manager import CapturedLogContext as CapturedLogContext

# Final statuses: our own list would miss a new one.
from dagster._core.storage.dagster_run import FINISHED_STATUSES as FINISHED_STATUSES
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES as NOT_FINISHED_STATUSES

# Events as they are stored. `r2-hf status` needs a few values of thousands of events, and the public calls deserialize
# each whole, in half a millisecond. Tags can't hold the values: Dagster indexes data versions and partitions only.
from dagster._core.storage.event_log import SqlEventLogStorage as SqlEventLogStorage
from dagster._core.storage.event_log import SqlEventLogStorageTable as SqlEventLogStorageTable

# With redirect_to_file.
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager as LocalComputeLogManager

# Type of a status in `DagsterInstance.get_status_by_partition`.
from dagster._core.storage.partition_status_cache import AssetPartitionStatus as AssetPartitionStatus

# Tags that Dagster sets on runs or reads from them; their texts are documented, the constants are private.
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG as AUTO_RETRY_RUN_ID_TAG
from dagster._core.storage.tags import BACKFILL_ID_TAG as BACKFILL_ID_TAG
from dagster._core.storage.tags import MAX_RETRIES_TAG as MAX_RETRIES_TAG
from dagster._core.storage.tags import PARTITION_NAME_TAG as PARTITION_NAME_TAG
from dagster._core.storage.tags import RETRY_ON_ASSET_OR_OP_FAILURE_TAG as RETRY_ON_ASSET_OR_OP_FAILURE_TAG
from dagster._core.storage.tags import SENSOR_NAME_TAG as SENSOR_NAME_TAG

# The id of a run without code: `DagsterInstance.add_run` requires one.
from dagster._core.utils import make_new_run_id as make_new_run_id

# With redirect_to_file.
from dagster._serdes import ConfigurableClassData as ConfigurableClassData

# The type of an error in events and ticks.
from dagster_shared.error import SerializableErrorInfo as SerializableErrorInfo

# Check specifications with partitions are in preview and warn at import; the filter needs the class.
from dagster_shared.utils.warnings import PreviewWarning as PreviewWarning

# Tags with this prefix are stored and queried like others, but hidden in the UI.
HIDDEN_TAG_PREFIX = ".dagster/"
