"""The product's and the UI's queries of the instance, timed, and `r2-hf status`, as a user types it.

GraphQL is executed in this process with the webserver's schema and definitions, without a browser.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster_graphql.cli import execute_query

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.plan.due import find_due
from r2_hf_assets.runs.history import recorded_digests
from r2_hf_assets.runs.progress import read_progress

_RUNS = """{ runsOrError(limit: 30) { ... on Runs { results {
  runId status startTime endTime tags { key value } assetSelection { path } } } } }"""
_HEALTH = """{ assetNodeOrError(assetKey: {path: ["hub_commit"]}) { ... on AssetNode {
  partitionStats { numMaterialized numPartitions numFailed numMaterializing }
  assetPartitionStatuses { ... on MultiPartitionStatuses { ranges { primaryDimStartKey primaryDimEndKey
    secondaryDim { ... on DefaultPartitionStatuses { materializedPartitions } } } } } } } }"""
_KEYS = """{ assetNodeOrError(assetKey: {path: ["hub_commit"]}) { ... on AssetNode {
  partitionKeysByDimension { name partitionKeys } } } }"""
_EVENTS = """{ assetOrError(assetKey: {path: ["hub_commit"]}) { ... on Asset {
  assetMaterializations(limit: 100) { partition timestamp metadataEntries { label } } } } }"""


class QueryTime(NamedTuple):
    """Seconds the first time and in the best of three after it, and the CPU seconds of that one in this process."""

    name: str
    first_s: float
    again_s: float
    cpu_s: float


def time_queries(instance: DagsterInstance, planned: list[ChunkRef]) -> Iterator[QueryTime]:
    yield _timed("what is due (r2-hf process, sensors)", lambda: find_due(planned, recorded_digests(instance, COMMIT)))
    yield _timed("progress by language (r2-hf status)", lambda: read_progress(instance, planned, LANGUAGES))
    with _workspace(instance) as query:
        for name, text in (
            ("the UI's list of runs, 30 of them", _RUNS),
            ("the UI's partition grid of hub_commit", _HEALTH),
            ("the partition keys, for the launch dialog", _KEYS),
            ("the last 100 materializations of hub_commit", _EVENTS),
        ):
            yield _timed(name, lambda text=text: query(text))  # type: ignore[misc]


def time_status() -> QueryTime:
    """Time the command in a process of its own, imports included."""

    def cpu_of_children() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    command = [sys.executable, "-m", "r2_hf_assets.cli", "status", "--json"]
    return _timed(
        "the command `r2-hf status`",
        lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True),
        cpu_of_children,
    )


def _timed(name: str, query: Callable[[], Any], cpu_s: Callable[[], float] = time.process_time) -> QueryTime:
    times = []
    for _ in range(4):
        started, cpu = time.perf_counter(), cpu_s()
        query()
        times.append((time.perf_counter() - started, cpu_s() - cpu))
    return QueryTime(name, times[0][0], *min(times[1:]))


@contextmanager
def _workspace(instance: DagsterInstance) -> Iterator[Callable[[str], Any]]:
    target = ModuleTarget("r2_hf_assets.definitions", None, None, "r2_hf_assets")
    with WorkspaceProcessContext(instance, target) as context:

        def query(text: str) -> Any:
            result = execute_query(context, text, {})
            assert "errors" not in result, result["errors"]
            return result["data"]

        yield query
