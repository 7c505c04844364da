"""Asks for runs until nothing is due: a scan after an upload, a run for every due chunk, and runs once more on demand.

It stands in for the sensors: it submits to the queue, looks at the history, and asks again for what is still due when
Dagster's own retries are used up. Runs that nobody works on any more are ended by the product's sensor `lost_runs`; one
that it has not ended after long is ended here, as an operator would, and counted.
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
from r2_hf_assets_tests.soak.victims import RUN, processes
from r2_hf_sandbox.processes import LOOPBACK

ERRAND_TAG = "kills/errand"
_OPEN = [*IN_PROGRESS_RUN_STATUSES, DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED]
# A retry that the daemon has announced shows up within seconds; one that a killed daemon forgot never does.
_RETRY_S = 15.0
# How long the process of a started run may be missing: `lost_runs` needs 20 s, and more while the daemon is killed.
_LOST_S = 90.0
_QUIET = logging.getLogger("kills.asker")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


@dataclass
class Asker:
    """`errands` are runs that must succeed once more, whatever the history says: a scan, or a chunk done already."""

    site: Site
    instance: DagsterInstance
    ended_as_lost: int = 0
    asked: int = 0
    errands: dict[str, str | None] = field(default_factory=dict)
    _missing: dict[str, float] = field(default_factory=dict)

    def want_scan(self, name: str) -> None:
        self.errands[name] = None

    def want_again(self, name: str, key: str) -> None:
        self.errands[name] = key

    def tick(self) -> bool:
        """Ask for what is open and nobody works on. True when nothing is left to do."""
        self._end_lost_runs()
        errands = {name: key for name, key in self.errands.items() if not self._succeeded(name)}
        self.errands = errands
        chunks = self.due_keys()
        if not errands and not chunks:
            return not self.open_runs()
        taken = self.open_runs() + self._retries_to_come()
        room = 2 * RUNS_AT_ONCE - len(taken)
        names = {run.tags.get(ERRAND_TAG) for run in taken}
        keys = {run.tags.get(PARTITION_NAME_TAG) for run in taken}
        requests = [_request(name, key) for name, key in errands.items() if name not in names]
        requests += [_request("", key) for key in chunks if key not in keys]
        if room > 0 and requests:
            self._submit(requests[:room])
        return False

    def due_keys(self) -> list[str]:
        """Keys of the chunks that are planned, known as partitions, and not yet recorded for their digest."""
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
        """Runs that count as in progress, by the process that they were started in."""
        statuses = [DagsterRunStatus.STARTED, DagsterRunStatus.STARTING]
        found: dict[int, DagsterRun] = {}
        for run in self.instance.get_runs(RunsFilter(statuses=statuses)):
            if pid := self._pid(run):
                found[pid] = run
        return found

    def where(self, run: DagsterRun) -> str:
        """What a run said last, for people."""
        last = self.instance.event_log_storage.get_logs_for_run(run.run_id, limit=1, ascending=False)
        event = last[0].dagster_event if last else None
        return f"after {event.event_type_value} {event.step_key or ''}".strip() if event else "after a message"

    def counts(self) -> Counter[str]:
        """Runs by status, and how many of them were Dagster's own retries."""
        runs = self.instance.get_runs()
        found = Counter(run.status.value.lower() for run in runs)
        found["runs"] = len(runs)
        found["retries"] = sum(RETRY_NUMBER_TAG in run.tags for run in runs)
        found["lost"] = sum(self._ended_by_sensor(run) for run in runs if run.status is DagsterRunStatus.FAILURE)
        return found

    def _ended_by_sensor(self, run: DagsterRun) -> bool:
        entries = self.instance.all_logs(run.run_id, of_type=DagsterEventType.RUN_FAILURE)
        return any("No heartbeat" in str(entry.dagster_event) for entry in entries)

    def _succeeded(self, errand: str) -> bool:
        return bool(
            self.instance.get_runs(RunsFilter(tags={ERRAND_TAG: errand}, statuses=[DagsterRunStatus.SUCCESS]), limit=1)
        )

    def _retries_to_come(self) -> list[DagsterRun]:
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
        living = {pid for pid, kind in processes(self.site.folder).items() if kind == RUN}
        gone = {run.run_id: run for pid, run in self.runs_by_pid().items() if pid not in living}
        now = time.monotonic()
        self._missing = {run_id: self._missing.get(run_id, now) for run_id in gone}
        for run_id, since in self._missing.items():
            fresh = self.instance.get_run_by_id(run_id)
            if now - since > _LOST_S and fresh and fresh.status is DagsterRunStatus.STARTED:
                self.instance.report_run_failed(fresh, "its process is gone, and nobody was left to say so")
                self.ended_as_lost += 1

    def _submit(self, requests: Sequence[RunRequest]) -> None:
        """Submit as the daemon does. With the code server down nothing is submitted: the next tick tries again."""
        try:
            with self._workspace() as (process, workspace):
                # One event loop for all of them: what a workspace has loaded belongs to the loop that asked for it.
                asyncio.run(self._submit_in(process, workspace, requests))
        except Exception as error:
            if type(error).__name__ not in _UNREACHABLE:
                raise

    async def _submit_in(
        self, process: WorkspaceProcessContext, workspace: BaseWorkspaceRequestContext, requests: Sequence[RunRequest]
    ) -> None:
        for index, request in enumerate(requests):
            await submit_asset_run(None, request, index, self.instance, process, workspace, {}, {}, _QUIET)
            self.asked += 1

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


def _request(errand: str, key: str | None) -> RunRequest:
    tags = {ERRAND_TAG: errand} if errand else {}
    if key is None:
        return RunRequest(asset_selection=[WORK_PLAN], tags=tags)
    language, chunk = key.split("|")
    tags |= {
        PARTITION_NAME_TAG: str(key),
        f"{PARTITION_NAME_TAG}/{LANGUAGE}": language,
        f"{PARTITION_NAME_TAG}/{PLAN_CHUNK}": chunk,
    }
    return RunRequest(partition_key=str(key), asset_selection=[SHARDS, COMMIT], tags=tags)
