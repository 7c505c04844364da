"""Request runs until nothing is due: a scan after an upload, a run of every due chunk, and reruns on demand.

It replaces the sensors: it submits to the queue, reads the history, and requests again what is still due when Dagster's
own retries are used up. The product's sensor `lost_runs` ends runs without a process. One that it has not ended after
_LOST_S is ended here, as an operator would, and counted.
"""

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, RunRequest, RunsFilter
from dagster._core.execution.submit_asset_runs import submit_asset_run
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, PARTITION_NAME_TAG, RETRY_NUMBER_TAG, WILL_RETRY_TAG
from dagster._core.workspace.context import BaseWorkspaceRequestContext, WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget

from r2_hf_assets.asset_keys import COMMIT, SHARDS, WORK_PLAN
from r2_hf_assets.partitions import LANGUAGE, PLAN_CHUNK, chunk_key, partition_key
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.plan.due import find_due
from r2_hf_assets.runs.history import recorded_digests
from r2_hf_assets_tests.soak.site import LOCATION, RUNS_AT_ONCE, Site
from r2_hf_assets_tests.soak.targets import RUN, processes
from r2_hf_sandbox.processes import LOOPBACK

EXTRA_RUN_TAG = "soak/extra_run"
_OPEN = [*IN_PROGRESS_RUN_STATUSES, DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED]
# A retry that the daemon has announced is queued within seconds; one that a killed daemon missed never is.
_RETRY_S = 15.0
# How long the process of a started run may be missing: `lost_runs` needs 20 s, and more while the daemon is killed.
_LOST_S = 90.0
_QUIET = logging.getLogger("soak.requester")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


@dataclass
class RunRequester:
    """`extra_runs`: runs that must succeed although nothing is due, by name: a key of a done chunk, None for a scan."""

    site: Site
    instance: DagsterInstance
    ended_as_lost: int = 0
    extra_runs: dict[str, str | None] = field(default_factory=dict)
    _missing: dict[str, float] = field(default_factory=dict)

    def request_scan(self, name: str) -> None:
        self.extra_runs[name] = None

    def request_rerun(self, name: str, key: str) -> None:
        self.extra_runs[name] = key

    def tick(self) -> bool:
        """Request what is due and has no run. Return True when nothing is left to do."""
        self._end_lost_runs()
        extra_runs = {name: key for name, key in self.extra_runs.items() if not self._succeeded(name)}
        self.extra_runs = extra_runs
        chunks = self.due_keys()
        if not extra_runs and not chunks:
            return not self.open_runs()
        taken = self.open_runs() + self._expected_retries()
        room = 2 * RUNS_AT_ONCE - len(taken)
        names = {run.tags.get(EXTRA_RUN_TAG) for run in taken}
        keys = {run.tags.get(PARTITION_NAME_TAG) for run in taken}
        requests = [_request(name, key) for name, key in extra_runs.items() if name not in names]
        requests += [_request("", key) for key in chunks if key not in keys]
        if room > 0 and requests:
            self._submit(requests[:room])
        return False

    def due_keys(self) -> list[str]:
        """Return the keys of chunks that are planned, are partitions, and are not recorded with their digest."""
        known = set(self.instance.get_dynamic_partitions(PLAN_CHUNK))
        open_ = find_due(self.planned(), recorded_digests(self.instance, COMMIT))
        return [partition_key(*p.name) for p in open_ if chunk_key(p.number) in known]

    def done_keys(self) -> list[str]:
        open_ = set(self.due_keys())
        return [key for p in self.planned() if (key := partition_key(*p.name)) not in open_]

    def planned(self) -> list[ChunkRef]:
        return self.site.plan().planned()

    def open_runs(self) -> list[DagsterRun]:
        return list(self.instance.get_runs(RunsFilter(statuses=_OPEN)))

    def runs_by_pid(self) -> dict[int, DagsterRun]:
        """Return the runs in progress by the id of their process."""
        statuses = [DagsterRunStatus.STARTED, DagsterRunStatus.STARTING]
        runs = self.instance.get_runs(RunsFilter(statuses=statuses))
        return {pid: run for run in runs if (pid := self._pid(run))}

    def last_event(self, run: DagsterRun) -> str:
        """Describe a run's last event."""
        last = self.instance.event_log_storage.get_logs_for_run(run.run_id, limit=1, ascending=False)
        event = last[0].dagster_event if last else None
        return f"after {event.event_type_value} {event.step_key or ''}".strip() if event else "after a message"

    def counts(self) -> Counter[str]:
        """Count runs by status, Dagster's own retries, and runs that `lost_runs` ended."""
        runs = self.instance.get_runs()
        counts = Counter(run.status.value.lower() for run in runs)
        counts["runs"] = len(runs)
        counts["retries"] = sum(RETRY_NUMBER_TAG in run.tags for run in runs)
        counts["lost"] = sum(self._ended_by_sensor(run) for run in runs if run.status is DagsterRunStatus.FAILURE)
        return counts

    def _ended_by_sensor(self, run: DagsterRun) -> bool:
        entries = self.instance.all_logs(run.run_id, of_type=DagsterEventType.RUN_FAILURE)
        return any("No heartbeat" in str(entry.dagster_event) for entry in entries)

    def _succeeded(self, extra_run: str) -> bool:
        succeeded = RunsFilter(tags={EXTRA_RUN_TAG: extra_run}, statuses=[DagsterRunStatus.SUCCESS])
        return bool(self.instance.get_runs(succeeded, limit=1))

    def _expected_retries(self) -> list[DagsterRun]:
        failed = self.instance.get_run_records(RunsFilter(statuses=[DagsterRunStatus.FAILURE]), limit=20)
        return [
            record.dagster_run
            for record in failed
            if record.dagster_run.tags.get(WILL_RETRY_TAG) == "true"
            and AUTO_RETRY_RUN_ID_TAG not in record.dagster_run.tags
            and time.time() - (record.end_time or 0) < _RETRY_S
        ]

    def _pid(self, run: DagsterRun) -> int | None:
        for entry in self.instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT):
            if match := re.search(r"Started process for run \(pid: (\d+)\)", entry.message):
                return int(match[1])
        return None

    def _end_lost_runs(self) -> None:
        pids = {pid for pid, kind in processes(self.site.folder).items() if kind == RUN}
        now = time.monotonic()
        gone = [run.run_id for pid, run in self.runs_by_pid().items() if pid not in pids]
        self._missing = {run_id: self._missing.get(run_id, now) for run_id in gone}
        for run_id, since in self._missing.items():
            run = self.instance.get_run_by_id(run_id)
            if now - since > _LOST_S and run and run.status is DagsterRunStatus.STARTED:
                self.instance.report_run_failed(run, "its process is gone, and lost_runs did not end it")
                self.ended_as_lost += 1

    def _submit(self, requests: Sequence[RunRequest]) -> None:
        """Submit as the daemon does. While the code server is down nothing is submitted; the next tick retries."""
        try:
            with self._workspace() as (process, workspace):
                # One event loop for all requests: what a workspace has loaded belongs to the loop that loaded it.
                asyncio.run(self._submit_in(process, workspace, requests))
        except Exception as error:
            if type(error).__name__ not in _UNREACHABLE:
                raise

    async def _submit_in(
        self, process: WorkspaceProcessContext, workspace: BaseWorkspaceRequestContext, requests: Sequence[RunRequest]
    ) -> None:
        for index, request in enumerate(requests):
            await submit_asset_run(None, request, index, self.instance, process, workspace, {}, {}, _QUIET)

    @contextmanager
    def _workspace(self) -> Iterator[tuple[WorkspaceProcessContext, BaseWorkspaceRequestContext]]:
        target = GrpcServerTarget(host=LOOPBACK, port=self.site.port, socket=None, location_name=LOCATION)
        with WorkspaceProcessContext(self.instance, target) as process:
            workspace = process.create_request_context()
            workspace.get_code_location(LOCATION)
            yield process, workspace


_UNREACHABLE = (
    "DagsterUserCodeUnreachableError",
    "DagsterCodeLocationLoadError",
    "DagsterCodeLocationNotFoundError",
    "DagsterUserCodeProcessError",
)


def _request(extra_run: str, key: str | None) -> RunRequest:
    tags = {EXTRA_RUN_TAG: extra_run} if extra_run else {}
    if key is None:
        return RunRequest(asset_selection=[WORK_PLAN], tags=tags)
    language, chunk = key.split("|")
    tags |= {
        PARTITION_NAME_TAG: str(key),
        f"{PARTITION_NAME_TAG}/{LANGUAGE}": language,
        f"{PARTITION_NAME_TAG}/{PLAN_CHUNK}": chunk,
    }
    return RunRequest(partition_key=str(key), asset_selection=[SHARDS, COMMIT], tags=tags)
