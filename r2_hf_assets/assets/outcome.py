"""What the work on one partition gave, and how a run of several records it.

A run of one partition yields it as its step's result. The result of a step that covers several partitions is one
for all of them: Dagster records it for every partition of the range, with the same data version, also for those that
failed, and its check results for none. So there each partition is recorded as soon as it is done, by events of its own
that are stored at once and outlive a kill, and the step's result records nothing (see `closing`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetCheckResult,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetRecordsFilter,
    DagsterEventType,
    MaterializeResult,
    MultiPartitionKey,
    Output,
    RunsFilter,
)
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.storage.tags import RETRY_NUMBER_TAG, ROOT_RUN_ID_TAG

from r2_hf_assets.assets.event_tags import event_tags
from r2_hf_assets.assets.metadata import Metadata
from r2_hf_assets.errors import ShardError
from r2_hf_assets.plan.due import UNPLANNED

_RESULT = "result"  # Dagster's name for an asset's own output; the others are its checks'


@dataclass(frozen=True)
class Outcome:
    """`digest` is the chunk's, or UNPLANNED; `dataset` the repo of a commit. With an `error`, a check failed and
    nothing was materialized."""

    digest: str
    metadata: Metadata
    checks: tuple[AssetCheckResult, ...]
    error: ShardError | None = None
    dataset: str | None = None


def unplanned(checks: Iterable[AssetCheckResult]) -> Outcome:
    """A cell of the grid in which the plan has nothing."""
    return Outcome(UNPLANNED, {"dagster/row_count": 0, "planned": False}, tuple(checks))


def record(context: AssetExecutionContext, asset: AssetKey, key: MultiPartitionKey, outcome: Outcome) -> None:
    """Record one partition of several, as Dagster records the result of a run of one."""
    if outcome.error is None:
        tags = event_tags(asset, outcome.digest, key, context.run.run_id, outcome.dataset)
        context.log_event(AssetMaterialization(asset, partition=key, metadata=outcome.metadata, tags=tags))
    target = _latest(context, asset, key)
    for result in outcome.checks:
        assert result.check_name is not None
        spec = context.assets_def.get_spec_for_check_key(AssetCheckKey(asset, result.check_name))
        evaluation = AssetCheckEvaluation(
            asset_key=asset,
            check_name=result.check_name,
            passed=result.passed,
            metadata=result.metadata,
            target_materialization_data=target,
            severity=result.severity,
            description=result.description,
            blocking=spec is not None and spec.blocking,
            partition=key,
        )
        context.log_event(evaluation)


def _latest(
    context: AssetExecutionContext, asset: AssetKey, key: str
) -> AssetCheckEvaluationTargetMaterializationData | None:
    wanted = AssetRecordsFilter(asset_key=asset, asset_partitions=[key])
    records = context.instance.fetch_materializations(wanted, limit=1).records
    if not records:
        return None
    return AssetCheckEvaluationTargetMaterializationData(
        storage_id=records[0].storage_id, run_id=records[0].run_id, timestamp=records[0].timestamp
    )


def closing(context: AssetExecutionContext, metadata: Metadata) -> Iterator[MaterializeResult | Output[Any]]:
    """What the step of several partitions yields at its end, so that the next step starts: results that record nothing.

    Dagster has no public word for it. The mark is the one by which its observable source assets, which log their
    events themselves, keep their result from being recorded a second time.
    """
    yield MaterializeResult(metadata={**metadata, SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True})
    for name in sorted(context.op_execution_context.selected_output_names - {_RESULT}):
        yield Output(None, output_name=name)


@dataclass(frozen=True)
class Earlier:
    """What an earlier try of this run recorded for a partition."""

    digest: str | None
    materialization: AssetMaterialization
    evaluations: tuple[AssetCheckEvaluation, ...]


def earlier_tries(context: AssetExecutionContext, asset: AssetKey) -> dict[str, Earlier]:
    """What the runs recorded that this one is the automatic retry of, by partition; of each the latest.

    A run that a user starts again has none: who asks again wants it done again.
    """
    root = context.run.tags.get(ROOT_RUN_ID_TAG)
    if root is None or RETRY_NUMBER_TAG not in context.run.tags:
        return {}
    retries = context.instance.get_runs(RunsFilter(tags={ROOT_RUN_ID_TAG: root}))
    runs = [run for run in (context.instance.get_run_by_id(root), *retries) if run is not None]
    materialized: dict[str, AssetMaterialization] = {}
    evaluated: dict[str, dict[str, AssetCheckEvaluation]] = {}
    for run in sorted(runs, key=lambda run: int(run.tags.get(RETRY_NUMBER_TAG, 0))):
        kinds = {DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_CHECK_EVALUATION}
        for entry in context.instance.all_logs(run.run_id, of_type=kinds):
            event = entry.get_dagster_event()
            if event.is_step_materialization:
                made = event.step_materialization_data.materialization
                if made.asset_key == asset and made.partition:
                    materialized[made.partition] = made
                    evaluated.pop(made.partition, None)
            else:
                judged = event.asset_check_evaluation_data
                if judged.asset_key == asset and judged.partition:
                    evaluated.setdefault(judged.partition, {})[judged.check_name] = judged
    return {
        key: Earlier((made.tags or {}).get(DATA_VERSION_TAG), made, tuple(evaluated[key].values()))
        for key, made in materialized.items()
        if key in evaluated
    }


def record_again(context: AssetExecutionContext, earlier: Earlier) -> None:
    """Record for this run what an earlier try of it did: the grid looks at the latest run that meant to do it."""
    events: Iterable[Any] = (earlier.materialization, *earlier.evaluations)
    for event in events:
        context.log_event(event)
