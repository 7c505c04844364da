"""Runs that a user or the system interrupts leave nothing visible, and the next run completes them."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus, RunsFilter

from r2_hf_assets.runs.outcome import INTERRUPTED, INTERRUPTED_TAG
from r2_hf_assets_tests.integration.commands import BOTH, command, go, log
from r2_hf_assets_tests.integration.services import services, stored
from r2_hf_assets_tests.support.world import World, materializations
from r2_hf_sandbox.processes import wait_until
from r2_hf_sandbox.s3.faults import S3Fault, S3Faults
from r2_hf_sandbox.samples.bucket import SampleSummary

KEY = "en|chunk_0000"
PATIENCE_S = 90.0
HELD_S = 300.0

TERMINATE = """
mutation ($runId: String!) {
  terminateRun(runId: $runId) { __typename ... on TerminateRunFailure { message } ... on PythonError { message } }
}
"""


@dataclass
class Case:
    """One planned chunk, and faults that hold a run of it until `release`."""

    world: World
    proxy: S3Faults
    summary: SampleSummary

    def hold(self, moment: str) -> Callable[[], bool]:
        """Hold the next run there; return a function that reports whether it is held."""
        hub, mark = self.world.sandbox.hub, self.world.sandbox.hub.mark()
        if moment == "build":
            self.proxy.inject(S3Fault(r"_000001\.mp3", "delay", delay_s=HELD_S, times=100))
            return lambda: self.proxy.count(r"_000001\.mp3") > 0
        # Every upload sends a shard; xorbs are not sent when an earlier test has uploaded the same content.
        path = {"upload": "/v1/shards", "commit": f"{self.world.repo_id}/commit/"}[moment]
        hub.inject({"method": "POST", "path_regex": path, "delay_s": HELD_S, "drop": True, "times": 100})
        return lambda: any(path in request["path"] for request in hub.requests(since=mark))

    def release(self) -> None:
        self.proxy.clear()
        self.proxy.refuse()  # ends what is held in it
        self.proxy.listen()
        self.world.sandbox.hub.clear_faults()

    def check_nothing_visible(self) -> None:
        """Check that neither the Hub nor the history has the chunk."""
        assert materializations(self.world, "hub_commit") == []
        if self.world.api().repo_exists(self.world.repo_id, repo_type="dataset"):
            assert self.world.files() == [] and self.world.commits() == []

    def check_complete(self) -> None:
        """Check that every row is there once, by one commit, and that no file is orphaned."""
        assert len(self.world.commits()) == 1 and self.world.due() == []
        assert self.world.row_keys() == sorted(row.key for row in self.summary.rows)
        assert len(materializations(self.world, "hub_commit")) == 1
        assert list((self.world.folder / "dagster_home").rglob("*.parquet")) == []


@pytest.fixture
def case(in_process: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    world = in_process
    with S3Faults(world.sandbox.s3.endpoint_url) as proxy:
        world.env["R2_ENDPOINT_URL"] = proxy.endpoint_url
        monkeypatch.setenv("R2_ENDPOINT_URL", proxy.endpoint_url)
        summary = world.upload(episodes={"en": 2}, segments=(2, 3), seconds=(0.3, 0.4))
        assert world.scan() is None
        yield Case(world, proxy, summary)


@pytest.mark.parametrize("moment", ["build", "upload", "commit"])
def test_a_command_interrupted_by_control_c_is_canceled_and_the_next_run_completes(case: Case, moment: str) -> None:
    held = case.hold(moment)
    with command(case.world, *BOTH, KEY) as process:
        go([process])
        assert wait_until(held, PATIENCE_S), log(case.world)
        os.killpg(process.pid, signal.SIGINT)
        case.release()
        assert process.wait(PATIENCE_S) != 0
    with DagsterInstance.get() as instance:
        (run,) = instance.get_runs(RunsFilter(tags={"dagster/partition": KEY}))
        (canceling,) = instance.all_logs(run.run_id, of_type=DagsterEventType.RUN_CANCELING)
    assert run.status is DagsterRunStatus.CANCELED and run.tags[INTERRUPTED_TAG] == run.run_id
    assert canceling.message == INTERRUPTED
    case.check_nothing_visible()
    assert [(done.key, done.error) for done in case.world.build_due()] == [(KEY, None)]
    case.check_complete()


def test_a_terminated_run_is_not_retried_and_a_run_that_got_sigterm_is(case: Case) -> None:
    with services(case.world) as host, DagsterInstance.get() as instance:

        def held_run(moment: str) -> str:
            held = case.hold(moment)
            run_id = host.launch(["parquet_shards", "hub_commit"], KEY)
            assert wait_until(held, PATIENCE_S), host.log()
            return run_id

        def ended(run_id: str) -> bool:
            return stored(instance, run_id).is_finished

        terminated = held_run("build")
        result = host.graphql(TERMINATE, runId=terminated)["terminateRun"]
        assert result["__typename"] == "TerminateRunSuccess", result
        case.release()
        assert wait_until(lambda: ended(terminated), PATIENCE_S), host.log()
        case.check_nothing_visible()

        stopped = held_run("commit")
        events = instance.all_logs(stopped, of_type=DagsterEventType.ENGINE_EVENT)
        (pid,) = {
            int(match[1]) for event in events if (match := re.search(r"steps in process \(pid: (\d+)\)", event.message))
        }
        os.kill(pid, signal.SIGTERM)
        case.release()
        assert wait_until(lambda: case.world.due() == [], PATIENCE_S), host.log()
        assert wait_until(lambda: all(run.is_finished for run in instance.get_runs()), PATIENCE_S), host.log()
        runs = {run.run_id: run for run in instance.get_runs(RunsFilter(tags={"dagster/partition": KEY}))}
    (retry,) = set(runs) - {terminated, stopped}
    assert runs[retry].parent_run_id == stopped
    statuses = [DagsterRunStatus.CANCELED, DagsterRunStatus.FAILURE, DagsterRunStatus.SUCCESS]
    assert [runs[run_id].status for run_id in (terminated, stopped, retry)] == statuses
    case.check_complete()
