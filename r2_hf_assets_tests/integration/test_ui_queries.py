"""The UI's own queries, sent to the real schema: each page that touches this project works with an empty plan.

Multi-partitions with an empty dynamic dimension have crashed Dagster before. The queries are taken from the installed
webserver, so a new release brings its own ones along.
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

LOCATION, REPOSITORY = "r2_hf_assets", "__repository__"
WHERE = {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY}
ASSETS = [
    {"path": [name]} for name in ("episodes", "work_plan", "parquet_shards", "hub_commit", "dataset", "dataset_card")
]
CHUNKED = ASSETS[2:4]
JOBS = ("__ASSET_JOB", "build_job", "check_job")
SENSORS = ("new_episodes", "planned_chunks", "lost_runs")
SCHEDULES = ("scan_schedule", "check_schedule")

# What the UI puts into a variable, by type, and by name where the type says too little.
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

# They need what this test does not know: the name of an op, or what their types call optional.
NEED_MORE = {
    "GetSlimEvaluationsQuery",
    "GraphExplorerRootQuery",
    "PipelineExplorerRootQuery",
    "UsedSolidDetailsQuery",
}

# The pages this is about: an asset, its partitions, its checks, the dialogs that launch runs and backfills, a job.
MUST = {
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
    """Every way in which this test can fill the variables that a query requires; none when it can't."""
    needed = {variable: kind for variable, kind, required in ui_queries.variables(name) if required}
    by_type = BY_TYPE | ({"AssetKeyInput": CHUNKED} if {"partitionKey", "partitions"} & set(needed) else {})
    values = [BY_NAME.get(variable) or by_type.get(kind, []) for variable, kind in needed.items()]
    return [dict(zip(needed, chosen, strict=True)) for chosen in product(*values)]


def complaints(answer: Any, path: str = "") -> Iterator[str]:
    """Errors that are part of an answer."""
    if isinstance(answer, dict):
        if answer.get("__typename") == "PythonError" or "stack" in answer:
            yield f"{path}: {answer.get('message')}"
        for key, value in answer.items():
            yield from complaints(value, f"{path}.{key}")
    elif isinstance(answer, list):
        for value in answer:
            yield from complaints(value, path)


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


def ask(workspace: WorkspaceProcessContext, names: Iterable[str]) -> tuple[set[str], list[str]]:
    """Which of these queries could be asked, and what went wrong."""
    schema = create_schema()
    asked: set[str] = set()
    wrong: list[str] = []

    async def everything() -> None:
        for name in names:
            for filling in fillings(name):
                context = workspace.create_request_context()
                answer = await schema.execute_async(ui_queries.document(name), context=context, variables=filling)
                asked.add(name)
                wrong.extend(f"{name} {filling}: {error.message}" for error in answer.errors or ())
                wrong.extend(f"{name} {filling}: {complaint}" for complaint in complaints(answer.data))

    asyncio.run(everything())
    return asked, wrong


def test_every_page_works_with_an_empty_plan_and_with_a_first_chunk(
    workspace: WorkspaceProcessContext, instance: DagsterInstance
) -> None:
    asked, wrong = ask(workspace, sorted(set(ui_queries.names()) - NEED_MORE))
    assert wrong == []
    assert MUST - asked == set() and len(asked) > 60
    grid = execute_query(workspace, ui_queries.document("PartitionHealthQuery"), {"assetKey": CHUNKED[1]})
    dimensions = grid["data"]["assetNodeOrError"]["partitionKeysByDimension"]
    assert [(d["name"], len(d["partitionKeys"])) for d in dimensions] == [
        ("language", len(LANGUAGES)),
        ("plan_chunk", 0),
    ]

    add_partitions(instance, [0])
    for asset in ("parquet_shards", "hub_commit"):
        instance.report_runless_asset_event(AssetMaterialization(asset, partition="en|chunk_0000"))
    assert ask(workspace, MUST)[1] == []


def test_a_complaint_is_seen() -> None:
    answer = {"a": [{"b": {"__typename": "PythonError", "message": "no"}}], "c": {"message": "x", "stack": []}}
    assert list(complaints(answer)) == [".a.b: no", ".c: x"]
