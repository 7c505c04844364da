"""Episodes reach the Hub by both sensors alone, turned on as the UI does it."""

import re

import pytest
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from r2_hf_assets.runs.outcome import ATTEMPT_TAG
from r2_hf_assets_tests.integration.services import LOCATION, Services, services
from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox.processes import wait_until

PATIENCE_S = 200.0
POLL_S = 0.5

START = """
mutation ($selector: SensorSelector!) {
  startSensor(sensorSelector: $selector) {
    __typename
    ... on Sensor { sensorState { status } }
    ... on PythonError { message }
  }
}
"""
TICKS = """
query ($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) {
    ... on Sensor { sensorState { ticks(limit: 100) { status skipReason error { message } } } }
  }
}
"""
RELOAD = """
mutation ($name: String!) {
  reloadRepositoryLocation(repositoryLocationName: $name) {
    __typename
    ... on WorkspaceLocationEntry {
      loadStatus
      locationOrLoadError { __typename ... on RepositoryLocation { repositories { sensors { name } } } }
    }
    ... on PythonError { message }
  }
}
"""


def selector(name: str) -> dict[str, str]:
    return {"repositoryLocationName": LOCATION, "repositoryName": "__repository__", "sensorName": name}


def turn_on(host: Services, name: str) -> None:
    started = host.graphql(START, selector=selector(name))["startSensor"]
    assert started["__typename"] == "Sensor" and started["sensorState"]["status"] == "RUNNING", started


def ticks(host: Services, name: str) -> list[dict]:
    return host.graphql(TICKS, selector=selector(name))["sensorOrError"]["sensorState"]["ticks"]


@pytest.mark.slow
@pytest.mark.timeout(480)
def test_episodes_reach_the_hub_by_sensors_alone(in_process: World) -> None:
    world = in_process
    world.env["PLAN_MAX_WAIT_HOURS"] = "0.0005"  # 1.8 seconds
    world.env |= {"ALERT_EMAIL_TO": "a@b.de", "ALERT_SMTP_URL": "smtp://127.0.0.1:9"}  # nothing is to be sent
    with services(world, "r2_hf_assets_tests.integration.quick_sensors") as host, DagsterInstance.get() as instance:
        for name in ("new_episodes", "planned_chunks"):
            turn_on(host, name)
        # en fills a chunk, de does not
        world.upload(episodes={"en": 3, "deu": 1}, expect=False, segments=(2, 2), seconds=(0.3, 0.4))

        def arrived() -> bool:
            exists = world.api().repo_exists(world.repo_id, repo_type="dataset")
            return exists and world.files() == ["data/de/chunk-00000.parquet", "data/en/chunk-00000.parquet"]

        def idle() -> bool:
            return world.due() == [] and all(run.is_finished for run in instance.get_runs())

        assert wait_until(arrived, PATIENCE_S, POLL_S), host.log()
        assert wait_until(idle, PATIENCE_S, POLL_S), host.log()
        all_ticks = ticks(host, "new_episodes") + ticks(host, "planned_chunks")
        told = ticks(host, "alerts")
        reloaded = host.graphql(RELOAD, name=LOCATION)["reloadRepositoryLocation"]
        runs = list(instance.get_runs())
        built = list(instance.get_runs(RunsFilter(job_name="build_job")))
    assert world.table().num_rows == 8 and len(world.commits()) == 2
    assert [tick["error"] for tick in all_ticks + told if tick["error"]] == []
    assert all(re.search(r"\d|nothing is due", tick["skipReason"]) for tick in all_ticks if tick["status"] == "SKIPPED")
    assert {run.status for run in runs} == {DagsterRunStatus.SUCCESS}
    tags = sorted((run.tags["dagster/partition"], run.tags[ATTEMPT_TAG]) for run in built)
    assert tags == [("de|chunk_0000", "1"), ("en|chunk_0000", "1")]
    skipped = {tick["skipReason"] for tick in told if tick["status"] == "SKIPPED"}  # the last may be under way
    assert skipped == {"problems: 0; e-mail: 0 told now"}
    scans = [run for run in runs if run.job_name == "scan_job"]
    assert len(runs) == len(built) + len(scans) and 1 <= len(scans) <= 2
    sensors = reloaded["locationOrLoadError"]["repositories"][0]["sensors"]
    assert reloaded["loadStatus"] == "LOADED" and {"new_episodes", "planned_chunks"} <= {one["name"] for one in sensors}
