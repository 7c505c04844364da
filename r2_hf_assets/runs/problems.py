"""What needs a person now, read from Dagster's runs, checks and ticks.

A problem is a state and not an event: it begins when nothing repeats the failed work by itself, and ends when the work
succeeds. While work is running or Dagster will retry it, its state is undecided. So whoever compares two observations
tells each problem once, however often the same work fails.

| problem | begins |
|---|---|
| a scan or the card | with a failed run that Dagster does not retry |
| a check of the plan or the dataset | with a failed result of severity ERROR, or such a run |
| a sensor | with the third failed tick in a row: a tick is repeated by the next one |
| a schedule | with a failed tick: the next one may be a week later |

Checks of a chunk are not here: those with severity ERROR fail its run.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import dagster as dg

from r2_hf_assets.asset_keys import CARD, COMMIT, SHARDS, WORK_PLAN
from r2_hf_assets.dagster_internals import AUTO_RETRY_RUN_ID_TAG, InstigatorType, TickStatus
from r2_hf_assets.runs.outcome import error_line, failure_line
from r2_hf_assets.runs.ticks import latest_ticks

FAILED_TICKS = 3


@dataclass(frozen=True)
class Problem:
    """A problem in one line, and the page of Dagster's UI about it. `key` is the same as long as it lasts."""

    key: str
    text: str
    page: str


@dataclass
class Observation:
    """The present problems by key, and the keys of which it is undecided whether they are problems."""

    problems: dict[str, Problem] = field(default_factory=dict)
    undecided: set[str] = field(default_factory=set)
    _runs: set[str] = field(default_factory=set)

    def add_failed_run(self, instance: dg.DagsterInstance, key: str, what: str, run_id: str) -> None:
        """Add a problem if the run, or its last retry, failed for good; one of each run."""
        run = instance.get_run_by_id(run_id)
        while run is not None and (retry := run.tags.get(AUTO_RETRY_RUN_ID_TAG)):
            run = instance.get_run_by_id(retry)
        if run is None or run.run_id in self._runs:
            return
        if not run.is_finished or run.is_complete_and_waiting_to_retry:
            self.undecided.add(key)
        elif run.status is dg.DagsterRunStatus.FAILURE:
            events = (entry.dagster_event for entry in instance.all_logs(run.run_id, of_type=_FAILURES))
            self._runs.add(run.run_id)
            self.add(key, f"{what}: {failure_line(event for event in events if event)}", f"runs/{run.run_id}")

    def add(self, key: str, text: str, page: str) -> None:
        self.problems[key] = Problem(key, " ".join(text.split()), page)


_FAILURES = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}


def observe_assets(seen: Observation, instance: dg.DagsterInstance) -> None:
    """Add a scan and a card whose last run failed before it was recorded."""
    for record in instance.get_asset_records([WORK_PLAN, CARD]):
        entry = record.asset_entry
        done = entry.last_materialization_record
        if entry.last_run_id and not (done and done.run_id == entry.last_run_id):
            name = entry.asset_key.to_user_string()
            seen.add_failed_run(instance, name, f"{name} failed", entry.last_run_id)


def observe_checks(seen: Observation, instance: dg.DagsterInstance, keys: Collection[dg.AssetCheckKey]) -> None:
    """Add the checks of the plan and the dataset whose last result is an error, or that could not be evaluated."""
    whole = [key for key in keys if key.asset_key not in (SHARDS, COMMIT)]
    for key, record in instance.event_log_storage.get_latest_asset_check_execution_by_key(whole).items():
        name, result = f"check {key.name}", record.evaluation
        if not isinstance(result, dg.AssetCheckEvaluation):  # planned
            seen.add_failed_run(instance, name, f"the {name} could not be evaluated", record.run_id)
        elif not result.passed and result.severity is dg.AssetCheckSeverity.ERROR:
            seen.add(name, f"the {name} fails: {result.description}", f"runs/{record.run_id}")


def observe_ticks(seen: Observation, instance: dg.DagsterInstance, location: str, names: Collection[str]) -> None:
    """Add the sensors and schedules of a code location that fail."""
    for state, ticks in latest_ticks(instance, names, FAILED_TICKS):
        if state.repository_selector.location_name != location or not ticks:
            continue
        kind = "schedule" if state.instigator_type is InstigatorType.SCHEDULE else "sensor"
        name, enough = f"{kind} {state.instigator_name}", FAILED_TICKS if kind == "sensor" else 1
        failed = [tick.error for tick in ticks[:enough] if tick.status is TickStatus.FAILURE]
        if len(failed) == enough:
            reason = error_line(failed[0]) if failed[0] else "see its ticks"
            seen.add(name, f"the {name} fails: {reason}", f"locations/{location}/{kind}s/{state.instigator_name}")
        elif ticks[0].status is TickStatus.FAILURE:
            seen.undecided.add(name)
