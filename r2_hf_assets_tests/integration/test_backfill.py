"""A real backfill: `dg dev` with its daemon and code server, launched as the UI does it, over GraphQL.

The guide's walk is by `dagster dev`.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from dagster import DagsterInstance, RunsFilter

from r2_hf_assets_tests.integration.webserver import Webserver
from r2_hf_assets_tests.support.world import BIN, ROOT, World, materializations
from r2_hf_sandbox.processes import LOOPBACK, free_port, wait_until

STATS = """
query { assetNodeOrError(assetKey: {path: ["hub_commit"]}) { ... on AssetNode {
  partitionStats { numMaterialized numFailed } } } }
"""
LOCATIONS = "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }"
ENDED = ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED")


@contextmanager
def dagster_dev(world: World, program: str = "dagster") -> Iterator[Webserver]:
    """`dagster dev` or `dg dev` on a free port, ready."""
    shutil.copy(ROOT / "workspace.yaml", world.folder)
    world.make_project()
    port = free_port()
    command, env = [str(BIN / program), "dev", "-h", LOOPBACK, "-p", str(port)], world.command_env()
    if program == "dg":
        del env["DAGSTER_MODULE_NAME"]  # it would name the location
    with (world.folder / "dev.log").open("wb") as log:
        dev = subprocess.Popen(command, cwd=world.folder, env=env, stdout=log, stderr=log, start_new_session=True)
    webserver = Webserver(f"http://{LOOPBACK}:{port}")
    try:
        assert wait_until(webserver.ready, 90, 0.5)
        yield webserver
    finally:
        os.killpg(dev.pid, signal.SIGINT)
        try:
            dev.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(dev.pid, signal.SIGKILL)
            dev.wait()


def _backfill(webserver: Webserver, keys: list[str]) -> str:
    """Run a backfill; return its final status."""
    backfill = webserver.backfill(keys)
    assert wait_until(lambda: webserver.backfill_status(backfill) in ENDED, 220, 0.5)
    return webserver.backfill_status(backfill)


@pytest.mark.slow
@pytest.mark.timeout(480)
def test_a_backfill_makes_one_run_per_chunk_and_a_second_one_completes_the_rest(in_process: World) -> None:
    world = in_process
    world.upload(episodes={"en": 6, "de": 1}, expect=False)
    world.write_dotenv()
    world.scan()
    with dagster_dev(world, "dg") as webserver:
        # The states of sensors belong to a location's name.
        entries = webserver.query(LOCATIONS)["workspaceOrError"]["locationEntries"]
        assert entries == [{"name": "r2_hf_assets", "loadStatus": "LOADED"}]
        # de|chunk_0001 is not planned, which must not fail the backfill.
        assert _backfill(webserver, ["en|chunk_0000", "de|chunk_0001"]) == "COMPLETED_SUCCESS"
        assert world.files() == ["data/en/chunk-00000.parquet"]
        head = world.head()
        stats = webserver.query(STATS)["assetNodeOrError"]["partitionStats"]
        assert (stats["numMaterialized"], stats["numFailed"]) == (2, 0)
        assert world.due() == ["de|chunk_0000", "en|chunk_0001"]
        assert _backfill(webserver, world.due()) == "COMPLETED_SUCCESS"
    assert world.due() == []
    assert world.head() != head
    for asset in ("parquet_shards", "hub_commit"):
        for key in ("en|chunk_0000", "en|chunk_0001", "de|chunk_0000"):
            assert len(materializations(world, asset, key)) == 1
    with DagsterInstance.get() as instance:
        runs = instance.get_runs(RunsFilter(tags={"dagster/partition/language": "en"}))
    assert sorted(run.tags["dagster/partition"] for run in runs) == ["en|chunk_0000", "en|chunk_0001"]
    assert all(run.tags["dagster/partition/plan_chunk"].startswith("chunk_") for run in runs)
