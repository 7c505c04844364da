"""GraphQL queries to a running webserver, as the UI sends them."""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TASK_ID_TAG = "dagster-celery/task_id"
_TIMEOUT_S = 60

LAUNCH_BACKFILL = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
_REPOSITORIES = "query { repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
_STATE = "query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"
_RUNS = """
query { runsOrError(limit: 500) { ... on Runs { results {
  runId status startTime endTime tags { key value }
} } } }
"""
_RECORDED = """
query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  partitionStats { numMaterialized }
} } }
"""
_TERMINATE = """
mutation ($id: String!) { terminateRun(runId: $id) { __typename ... on TerminateRunFailure { message } } }
"""


@dataclass(frozen=True)
class Run:
    """A run as the UI shows it; `started` and `ended` are Unix times, None before."""

    id: str
    status: str
    started: float | None
    ended: float | None
    tags: dict[str, str]

    @property
    def key(self) -> str:
        """The partition, e.g. en|chunk_0007; empty for a run without one."""
        return self.tags.get("dagster/partition", "")

    @property
    def finished(self) -> bool:
        return self.status in ("SUCCESS", "FAILURE", "CANCELED")


@dataclass(frozen=True)
class Webserver:
    """`url` ends with the port."""

    url: str

    def ready(self) -> bool:
        """Return whether it responds and has loaded the definitions from the code server."""
        try:
            return bool(self.query(_REPOSITORIES)["repositoriesOrError"].get("nodes"))
        except OSError:
            return False

    def query(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return the data of the response; a GraphQL error fails the test."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=_TIMEOUT_S) as response:
            result = json.loads(response.read())
        assert "errors" not in result, result["errors"]
        return result["data"]

    def backfill(self, keys: Sequence[str], assets: Sequence[str] = ("parquet_shards", "hub_commit")) -> str:
        """Launch a backfill; return its id."""
        selection = [{"path": [asset]} for asset in assets]
        params = {"partitionNames": list(keys), "assetSelection": selection}
        launched = self.query(LAUNCH_BACKFILL, params=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return launched["backfillId"]

    def backfill_status(self, backfill: str) -> str:
        return self.query(_STATE, id=backfill)["partitionBackfillOrError"]["status"]

    def runs(self) -> list[Run]:
        """Return every run, oldest first."""
        results = self.query(_RUNS)["runsOrError"]["results"]
        return [
            Run(
                run["runId"],
                run["status"],
                run["startTime"],
                run["endTime"],
                {tag["key"]: tag["value"] for tag in run["tags"]},
            )
            for run in reversed(results)
        ]

    def run(self, run_id: str) -> Run:
        return next(run for run in self.runs() if run.id == run_id)

    def materialized(self, asset: str) -> int:
        """Return how many of the asset's partitions count as materialized."""
        node = self.query(_RECORDED, key={"path": [asset]})["assetNodeOrError"]
        return node["partitionStats"]["numMaterialized"]

    def terminate(self, run_id: str) -> None:
        """Terminate a run, as the UI does."""
        result = self.query(_TERMINATE, id=run_id)["terminateRun"]
        assert result["__typename"] == "TerminateRunSuccess", result
