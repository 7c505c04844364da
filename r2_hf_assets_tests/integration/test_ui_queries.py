"""The UI's own queries on the real schema: every page of this project works with an empty plan.

Multi-partitions with an empty dynamic dimension have crashed Dagster before. The queries are taken from the installed
webserver, so a new release is tested with its own.
"""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import pytest
from dagster import AssetMaterialization, DagsterInstance
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster_graphql.cli import execute_query
from dagster_graphql.schema import create_schema

from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.partitions import add_partitions
from r2_hf_assets_tests.integration import ui_queries

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster uses its own deprecated names
LOCATION, REPOSITORY = "r2_hf_assets", "__repository__"
WHERE = {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY}
ASSETS = [
    {"path": [name]} for name in ("episodes", "work_plan", "parquet_shards", "hub_commit", "dataset", "dataset_card")
]
CHUNKED = ASSETS[2:4]
JOBS = ("__ASSET_JOB", "build_job", "check_job")
SENSORS = ("new_episodes", "planned_chunks", "lost_runs", "alerts")
SCHEDULES = ("scan_schedule", "check_schedule")

# Values of the UI's variables by type, and by name where the type is too general.
BY_TYPE: dict[str, list[Any]] = {
    "AssetKeyInput": list(ASSETS),
    "[AssetKeyInput!]": [ASSETS, CHUNKED],
    "PipelineSelector": [{**WHERE, "pipelineName": job} for job in JOBS]
    + [{**WHERE, "pipelineName": "__ASSET_JOB", "assetSelection": CHUNKED, "assetCheckSelection": []}],
    "RepositorySelector": [WHERE],
    "SensorSelector": [{**WHERE, "sensorName": name} for name in SENSORS],
    "ScheduleSelector": [{**WHERE, "scheduleName": name} for name in SCHEDULES],
    "InstigationSelector": [{**WHERE, "name": name} for name in SENSORS + SCHEDULES],
    "AssetGroupSelector": [{**WHERE, "groupName": "speech_dataset"}],
    "RunsFilter": [{"statuses": ["SUCCESS"]}],
    "RunsFeedView": ["ROOTS"],
    "Int": [10],
    "[AssetEventHistoryEventTypeSelector!]": [["MATERIALIZATION"]],
}
BY_NAME: dict[str, list[Any]] = {
    "repositoryLocationName": [LOCATION],
    "repositoryName": [REPOSITORY],
    "locationName": [LOCATION],
    "pipelineName": list(JOBS),
    "jobName": ["__ASSET_JOB", "build_job"],
    "partitionSetName": ["build_job_partition_set"],
    "partitionName": ["en|chunk_0000"],
    "partitionKey": ["en|chunk_0000"],
    "partitionNames": [["en|chunk_0000"]],
    "name": [LOCATION],
    "partitions": [[], ["en|chunk_0000"]],
    "checkName": ["plan", "ledger", "on_hub", "whole_dataset"],
    "pool": ["hub"],
    "rootHandleID": [""],
    "mode": ["default"],
    "runConfigData": [{}],
}

# They need values that this test has not: the name of an op, or variables that are optional by type.
NEED_MORE = {
    "GetSlimEvaluationsQuery",
    "GraphExplorerRootQuery",
    "PipelineExplorerRootQuery",
    "UsedSolidDetailsQuery",
}

# The pages of an asset, its partitions and checks, the dialogs that launch runs and backfills, a job.
REQUIRED = {
    "AssetChecksQuery",
    "AssetGraphLiveQuery",
    "AssetHealthQuery",
    "AssetPartitionDetailQuery",
    "AssetPartitionStaleQuery",
    "AssetStaleStatusQuery",
    "AssetViewDefinitionQuery",
    "BackfillPreviewQuery",
    "ConfigPartitionForAssetJobQuery",
    "ConfigPartitionsAssetsQuery",
    "FullPartitionsQuery",
    "LaunchAssetLoaderQuery",
    "LaunchAssetWarningsQuery",
    "LocationWorkspaceQuery",
    "PartitionHealthQuery",
    "PartitionsStatusQuery",
    "ReportEventPartitionDefinitionQuery",
    "SidebarAssetQuery",
    "SingleSensorQuery",
}


def fillings(name: str) -> list[dict[str, Any]]:
    """Return every combination of values for a query's required variables; none when a value is missing."""
    needed = {variable: kind for variable, kind, required in ui_queries.variables(name) if required}
    by_type = BY_TYPE | ({"AssetKeyInput": CHUNKED} if {"partitionKey", "partitions"} & set(needed) else {})
    values = [BY_NAME.get(variable) or by_type.get(kind, []) for variable, kind in needed.items()]
    return [dict(zip(needed, chosen, strict=True)) for chosen in product(*values)]


def errors_in(data: Any, path: str = "") -> Iterator[str]:
    """Yield the errors within a response's data."""
    if isinstance(data, dict):
        if data.get("__typename") == "PythonError" or "stack" in data:
            yield f"{path}: {data.get('message')}"
        for key, value in data.items():
            yield from errors_in(value, f"{path}.{key}")
    elif isinstance(data, list):
        for value in data:
            yield from errors_in(value, path)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterInstance]:
    with DagsterInstance.local_temp(str(tmp_path_factory.mktemp("home"))) as made:
        yield made


@pytest.fixture(scope="module")
def workspace(instance: DagsterInstance) -> Iterator[WorkspaceProcessContext]:
    origin = LoadableTargetOrigin(module_name="r2_hf_assets.definitions")
    target = InProcessWorkspaceLoadTarget(InProcessCodeLocationOrigin(origin, location_name=LOCATION))
    with WorkspaceProcessContext(instance, target) as context:
        yield context


def execute_queries(workspace: WorkspaceProcessContext, names: Iterable[str]) -> tuple[set[str], list[str]]:
    """Return the names of the queries that could be executed, and all errors."""
    schema = create_schema()
    executed: set[str] = set()
    errors: list[str] = []

    async def execute_all() -> None:
        for name in names:
            for filling in fillings(name):
                context = workspace.create_request_context()
                result = await schema.execute_async(ui_queries.document(name), context=context, variables=filling)
                executed.add(name)
                errors.extend(f"{name} {filling}: {error.message}" for error in result.errors or ())
                errors.extend(f"{name} {filling}: {error}" for error in errors_in(result.data))

    asyncio.run(execute_all())
    return executed, errors


def test_every_page_works_with_an_empty_plan_and_with_a_first_chunk(
    workspace: WorkspaceProcessContext, instance: DagsterInstance
) -> None:
    executed, errors = execute_queries(workspace, sorted(set(ui_queries.names()) - NEED_MORE))
    assert errors == []
    assert executed >= REQUIRED and len(executed) > 60
    grid = execute_query(workspace, ui_queries.document("PartitionHealthQuery"), {"assetKey": CHUNKED[1]})
    dimensions = grid["data"]["assetNodeOrError"]["partitionKeysByDimension"]
    assert [(d["name"], len(d["partitionKeys"])) for d in dimensions] == [
        ("language", len(LANGUAGES)),
        ("plan_chunk", 0),
    ]

    add_partitions(instance, [0])
    for asset in ("parquet_shards", "hub_commit"):
        instance.report_runless_asset_event(AssetMaterialization(asset, partition="en|chunk_0000"))
    assert execute_queries(workspace, REQUIRED)[1] == []


def test_an_error_within_the_data_is_reported() -> None:
    data = {"a": [{"b": {"__typename": "PythonError", "message": "no"}}], "c": {"message": "x", "stack": []}}
    assert list(errors_in(data)) == [".a.b: no", ".c: x"]
