"""A world's code server, daemon and UI as processes to start, kill and start again; and its GraphQL.

Runs are children of the code server and in its session, so `kill` has the effect of a host crash: no process is left to
report the end of a run. GraphQL is executed in this process, by the webserver's schema, on the real code server.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagster import DagsterInstance, DagsterRun
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster_graphql.cli import execute_query

from r2_hf_assets.partitions import read_key
from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox.processes import LOOPBACK, free_port, wait_until

LOCATION = "r2_hf_assets"
PATIENCE_S = 60.0

LAUNCH = """
mutation ($executionParams: ExecutionParams!) {
  launchRun(executionParams: $executionParams) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""


@dataclass
class Services:
    """`module` holds the definitions that the code server serves; `daemon` is Dagster's, or one in its place."""

    world: World
    module: str = "r2_hf_assets.definitions"
    daemon: str = "dagster._daemon"
    port: int = field(default_factory=free_port)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """Start the code server, and the daemon once the code server accepts connections."""
        location = f"{{host: {LOOPBACK}, port: {self.port}, location_name: {LOCATION}}}"
        self._workspace.write_text(f"load_from:\n  - grpc_server: {location}\n")
        serve = ["dagster", "api", "grpc", "-h", LOOPBACK, "-p", str(self.port), "--location-name", LOCATION]
        server = self._start([*serve, "-m", self.module])
        self._wait_for(server, self.port)
        self._start([self.daemon, "run", "-w", str(self._workspace)])

    def start_ui(self) -> str:
        """Start the webserver; return its URL."""
        port = free_port()
        web = self._start(["dagster_webserver", "-h", LOOPBACK, "-p", str(port), "-w", str(self._workspace)])
        self._wait_for(web, port)
        return f"http://{LOOPBACK}:{port}"

    @property
    def _workspace(self) -> Path:
        return self.world.folder / "services.yaml"

    def _wait_for(self, server: subprocess.Popen[bytes], port: int) -> None:
        wait_until(lambda: _listens(port) or server.poll() is not None, PATIENCE_S)
        assert _listens(port), self.log()

    def log(self) -> str:
        """Return the end of the processes' log."""
        return (self.world.folder / "services.log").read_text()[-3000:]

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        env = {**self.world.command_env(), **self.world.env}
        del env["DAGSTER_MODULE_NAME"]
        log = self.world.folder / "services.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=self.world.folder,
                env=env,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def kill(self) -> None:
        """Kill every process with its children, as a host crash does."""
        for process in self.running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in self.running:
            process.wait()
        self.running.clear()

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return the data of the response; a GraphQL error fails the test."""
        target = GrpcServerTarget(host=LOOPBACK, port=self.port, socket=None, location_name=LOCATION)
        with DagsterInstance.get() as instance, WorkspaceProcessContext(instance, target) as context:
            result = execute_query(context, query, variables)
        assert "errors" not in result, result["errors"]
        return result["data"]

    def launch(self, assets: Sequence[str], key: str) -> str:
        """Queue a run of one partition, as the UI does; return its id."""
        language, _ = read_key(key)
        dimensions = {"": key, "/language": language, "/plan_chunk": key.partition("|")[2]}
        tags = [{"key": f"dagster/partition{name}", "value": value} for name, value in dimensions.items()]
        selector = {
            "repositoryLocationName": LOCATION,
            "repositoryName": "__repository__",
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": [asset]} for asset in assets],
        }
        params = {"selector": selector, "mode": "default", "executionMetadata": {"tags": tags}}
        launched = self.graphql(LAUNCH, executionParams=params)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def stored(instance: DagsterInstance, run_id: str) -> DagsterRun:
    """Return a run's current record."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run


@contextmanager
def services(world: World, module: str = "r2_hf_assets.definitions", **options: Any) -> Iterator[Services]:
    """A code server and a daemon, killed at the end with their runs. Needs `in_process`."""
    running = Services(world, module, **options)
    try:
        running.start()
        yield running
    finally:
        running.kill()
