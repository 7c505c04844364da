"""A real backfill: `dagster dev` with its daemon and code server, launched as the UI does it, over GraphQL."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dagster import DagsterInstance, RunsFilter

from r2_hf_assets_tests.support.world import BIN, ROOT, World, materializations

LAUNCH = """
mutation ($backfillParams: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $backfillParams) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
STATUS = "query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"
MISSING = """
query { assetNodeOrError(assetKey: {path: ["hub_commit"]}) { ... on AssetNode {
  partitionStats { numMaterialized numPartitions numFailed } } } }
"""


@contextmanager
def dagster_dev(world: World) -> Iterator[str]:
    """`dagster dev` on a free port; yields its GraphQL URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shutil.copy(ROOT / "workspace.yaml", world.folder)
    command = [str(BIN / "dagster"), "dev", "-h", "127.0.0.1", "-p", str(port)]
    with (world.folder / "dev.log").open("wb") as log:
        dev = subprocess.Popen(
            command, cwd=world.folder, env=world.command_env(), stdout=log, stderr=log, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}/graphql"
    try:
        _wait(lambda: _answers(url), 90)
        yield url
    finally:
        os.killpg(dev.pid, signal.SIGINT)
        try:
            dev.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(dev.pid, signal.SIGKILL)
            dev.wait()


def _answers(url: str) -> bool:
    try:
        return bool(graphql(url, "{ version }")) and bool(
            graphql(url, "{ assetNodes { assetKey { path } } }")["assetNodes"]
        )
    except (OSError, urllib.error.URLError, KeyError):
        return False


def graphql(url: str, query: str, **variables: Any) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.loads(answer.read())
    assert "errors" not in found, found["errors"]
    return found["data"]


def _wait(done: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.5)


def _backfill(url: str, partitions: list[str]) -> str:
    assets = [{"path": ["parquet_shards"]}, {"path": ["hub_commit"]}]
    launched = graphql(url, LAUNCH, backfillParams={"partitionNames": partitions, "assetSelection": assets})
    backfill = launched["launchPartitionBackfill"]
    assert backfill["__typename"] == "LaunchBackfillSuccess", backfill
    ended = ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED")

    def status() -> str:
        return graphql(url, STATUS, id=backfill["backfillId"])["partitionBackfillOrError"]["status"]

    _wait(lambda: status() in ended, 220)
    return status()


def test_a_backfill_gives_one_run_a_chunk_and_a_second_one_does_only_what_is_missing(in_process: World) -> None:
    world = in_process
    world.upload(episodes={"en": 6, "de": 1}, expect=False)
    world.write_dotenv()
    world.scan()
    with dagster_dev(world) as url:
        # de|chunk_0001 is a cell that the plan does not fill: it must not make the backfill fail.
        assert _backfill(url, ["en|chunk_0000", "de|chunk_0001"]) == "COMPLETED_SUCCESS"
        assert world.files() == ["data/en/chunk-00000.parquet"]
        head = world.head()
        stats = graphql(url, MISSING)["assetNodeOrError"]["partitionStats"]
        assert (stats["numMaterialized"], stats["numFailed"]) == (2, 0)
        assert world.due() == ["de|chunk_0000", "en|chunk_0001"]
        assert _backfill(url, world.due()) == "COMPLETED_SUCCESS"
    assert world.due() == []
    assert world.head() != head
    for asset in ("parquet_shards", "hub_commit"):
        for key in ("en|chunk_0000", "en|chunk_0001", "de|chunk_0000"):
            assert len(materializations(world, asset, key)) == 1
    with DagsterInstance.get() as instance:
        runs = instance.get_runs(RunsFilter(tags={"dagster/partition/language": "en"}))
    assert sorted(run.tags["dagster/partition"] for run in runs) == ["en|chunk_0000", "en|chunk_0001"]
    assert all(run.tags["dagster/partition/plan_chunk"].startswith("chunk_") for run in runs)
