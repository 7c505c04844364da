"""What is asked of the webserver, as the UI asks it."""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TASK_ID_TAG = "dagster-celery/task_id"
_TIMEOUT_S = 60

_BACKFILL = """
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
    """A run as the UI shows it. `started` is a time, None before."""

    id: str
    status: str
    started: float | None
    tags: dict[str, str]

    @property
    def key(self) -> str:
        """en|chunk_0007; empty for a run without a partition."""
        return self.tags.get("dagster/partition", "")

    @property
    def over(self) -> bool:
        return self.status in ("SUCCESS", "FAILURE", "CANCELED")


@dataclass(frozen=True)
class Webserver:
    """`url` ends with the port."""

    url: str

    def ready(self) -> bool:
        """Whether it answers, and has the definitions from the code server."""
        try:
            return bool(self.ask(_REPOSITORIES)["repositoriesOrError"].get("nodes"))
        except OSError:
            return False

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The answer's data."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=_TIMEOUT_S) as response:
            answer = json.loads(response.read())
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def backfill(self, keys: Sequence[str], assets: Sequence[str] = ("parquet_shards", "hub_commit")) -> str:
        """Launch a backfill; its id."""
        selection = [{"path": [asset]} for asset in assets]
        params = {"partitionNames": list(keys), "assetSelection": selection}
        launched = self.ask(_BACKFILL, params=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return launched["backfillId"]

    def backfill_status(self, backfill: str) -> str:
        return self.ask(_STATE, id=backfill)["partitionBackfillOrError"]["status"]

    def runs(self) -> list[Run]:
        """Every run, oldest first."""
        found = self.ask(_RUNS)["runsOrError"]["results"]
        return [
            Run(run["runId"], run["status"], run["startTime"], {tag["key"]: tag["value"] for tag in run["tags"]})
            for run in reversed(found)
        ]

    def run(self, run_id: str) -> Run:
        return next(run for run in self.runs() if run.id == run_id)

    def materialized(self, asset: str) -> int:
        """How many of the asset's partitions count as materialized."""
        found = self.ask(_RECORDED, key={"path": [asset]})
        return found["assetNodeOrError"]["partitionStats"]["numMaterialized"]

    def terminate(self, run_id: str) -> None:
        """What the UI's Terminate does."""
        answer = self.ask(_TERMINATE, id=run_id)["terminateRun"]
        assert answer["__typename"] == "TerminateRunSuccess", answer
