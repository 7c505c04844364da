"""planned_chunks on a real plan and instance: which runs it requests, which it leaves, and its status line."""

import time
from pathlib import Path

import pytest
from dagster import AssetMaterialization, DagsterRunStatus
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.storage.tags import BACKFILL_ID_TAG, RETRY_ON_ASSET_OR_OP_FAILURE_TAG

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.definitions import defs
from r2_hf_assets.partitions import add_partitions, chunk_partitions, grid_languages, read_key
from r2_hf_assets.plan.dispatch import MAX_CONSECUTIVE_FAILURES, Selection
from r2_hf_assets.reconcile.report import Due
from r2_hf_assets.retry import RUN_ATTEMPTS
from r2_hf_assets.runs.outcome import ATTEMPT_TAG, DIGEST_TAG, INTERRUPTED_TAG, SYSTEMIC_TAG
from r2_hf_assets.runs.runless_events import record_due
from r2_hf_assets.sensors import planned_chunks as module
from r2_hf_assets.sensors.planned_chunks import status_line
from r2_hf_assets_tests.sensors.ticks import KEYS, LONG_AGO, PlannedTicks


def committed(ticks: PlannedTicks, key: str, digest: str | None = None) -> None:
    tags = {"dagster/data_version": digest or ticks.digests[key]}
    ticks.instance.report_runless_asset_event(AssetMaterialization(COMMIT, partition=key, tags=tags))


def test_due_chunks_are_requested_and_partitions_added(ticks: PlannedTicks) -> None:
    add_partitions(ticks.instance, [1])
    committed(ticks, "en|chunk_0000")
    committed(ticks, "en|chunk_0001", "another digest")
    result = ticks()
    assert [request.partition_key for request in result.run_requests or ()] == [KEYS[0], KEYS[2], KEYS[3]]
    assert set(ticks.instance.get_dynamic_partitions("plan_chunk")) == {"chunk_0000", "chunk_0001", "chunk_0002"}
    request = (result.run_requests or [])[0]
    assert request.tags[ATTEMPT_TAG] == "1" and request.tags[RETRY_ON_ASSET_OR_OP_FAILURE_TAG] == "false"
    assert request.run_key == f"de|chunk_0000 {ticks.digests['de|chunk_0000']}@me/speech 1"
    for key in KEYS:
        committed(ticks, key)
    assert ticks.skip_message() == "nothing is due"


@pytest.mark.filterwarnings("ignore:Non-compliant tag keys:DeprecationWarning")  # Dagster's own
def test_a_run_has_the_tags_of_its_partition(ticks: PlannedTicks) -> None:
    add_partitions(ticks.instance, [0, 1, 2])
    (request, *_) = ticks.requests()
    job = defs.resolve_job_def("build_job")
    resolved = request.with_resolved_tags_and_config(
        job, dynamic_partitions_requests=[], dynamic_partitions_store=ticks.instance
    )
    assert resolved.tags["dagster/partition/language"] == "de"
    assert resolved.tags["dagster/partition"] == "de|chunk_0000"


@pytest.mark.parametrize("status", [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING])
def test_a_partition_with_an_active_run_is_not_requested(ticks: PlannedTicks, status: DagsterRunStatus) -> None:
    ticks.run("en|chunk_0000", status)
    ticks.run("2026-01-01", status)  # of another project
    assert ticks.requested() == [KEYS[0], KEYS[2], KEYS[3]]


def test_attempts_are_counted_from_the_runs(ticks: PlannedTicks) -> None:
    for number in (1, 2):
        ticks.attempt("en|chunk_0000", number, DagsterRunStatus.FAILURE)
    ticks.attempt("en|chunk_0000", 2, DagsterRunStatus.FAILURE)  # Dagster's retry of the second one
    earlier = {DIGEST_TAG: "of an earlier plan"}
    ticks.attempt("en|chunk_0001", 4, DagsterRunStatus.FAILURE, LONG_AGO, **earlier)
    ticks.attempt("en|chunk_0002", 1, DagsterRunStatus.SUCCESS)  # its materialization was wiped
    attempts = {request.partition_key: request.run_key and request.run_key[-2:] for request in ticks.requests()}
    assert attempts == dict(zip(KEYS, (" 1", " 3", " 1", " 2"), strict=True))


def test_exhausted_attempts_are_reported(ticks: PlannedTicks) -> None:
    for key in KEYS:
        ticks.attempt(key, RUN_ATTEMPTS, DagsterRunStatus.FAILURE)
    ticks.attempt("en|chunk_0002", 1, DagsterRunStatus.FAILURE, time.time())
    assert ticks.skip_message() == (
        "4 due: 0 requested now, 0 active (0 of 20 runs); 4 failed 5 times and are left: de|chunk_0000, "
        "en|chunk_0000, en|chunk_0001, en|chunk_0002: see their runs, then materialize them by hand"
    )


def test_a_recent_failure_waits_whatever_started_the_run(ticks: PlannedTicks) -> None:
    ticks.attempt("de|chunk_0000", 1, DagsterRunStatus.FAILURE, time.time())
    ticks.run("en|chunk_0000", DagsterRunStatus.FAILURE, time.time())
    assert ticks.requested() == KEYS[2:]


def test_a_terminated_run_holds_its_chunk_until_a_manual_run(ticks: PlannedTicks) -> None:
    ticks.attempt("de|chunk_0000", 1, DagsterRunStatus.CANCELED)
    assert ticks.requested() == KEYS[1:]
    ticks.run("de|chunk_0000", DagsterRunStatus.FAILURE)
    assert ticks.requested() == KEYS


def test_a_canceled_run_of_a_backfill_holds_nothing(ticks: PlannedTicks) -> None:
    ticks.run("de|chunk_0000", DagsterRunStatus.CANCELED, time.time(), **{BACKFILL_ID_TAG: "canceled"})
    assert ticks.requested() == KEYS, "without a wait"


def test_a_run_that_ctrl_c_ended_holds_nothing(ticks: PlannedTicks) -> None:
    run_id = ticks.run("de|chunk_0000", DagsterRunStatus.CANCELED, time.time())
    ticks.instance.add_run_tags(run_id, {INTERRUPTED_TAG: run_id})
    assert ticks.requested() == KEYS, "without a wait"
    ticks.run("de|chunk_0000", DagsterRunStatus.CANCELED, LONG_AGO, **{INTERRUPTED_TAG: run_id})
    assert ticks.requested() == KEYS[1:], "a person terminated its re-execution, which inherits the tag"


def test_attempts_of_an_earlier_release_count(ticks: PlannedTicks) -> None:
    """Their tags have no hidden prefix; a repeated run key would start nothing."""
    tags = {"r2_hf_assets/attempt": "2", "r2_hf_assets/chunk_digest": ticks.digests["de|chunk_0000"]}
    ticks.run("de|chunk_0000", DagsterRunStatus.FAILURE, LONG_AGO, **tags)
    (request, *_) = ticks.requests()
    assert (request.partition_key, request.tags[ATTEMPT_TAG]) == ("de|chunk_0000", "3")


def test_chunks_of_languages_that_the_loaded_grid_lacks_are_requested(
    ticks: PlannedTicks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    languages = chunk_partitions.get_partitions_def_for_dimension("language")
    monkeypatch.setattr(languages, "_partition_keys", ["de"])  # as where only these were planned at that time
    job = defs.resolve_job_def("build_job")
    requests = ticks.requests()
    with partition_loading_context(dynamic_partitions_store=ticks.instance) as context:
        for request in requests:  # as the code server does after the tick
            job.validate_partition_key(request.partition_key or "", None, context)
    assert [request.partition_key for request in requests] == KEYS
    assert grid_languages() == ("de", "en"), "for the next load"


def test_a_terminated_run_of_another_digest_holds_nothing(ticks: PlannedTicks) -> None:
    earlier = {DIGEST_TAG: "of an earlier plan"}
    ticks.attempt("de|chunk_0000", 1, DagsterRunStatus.CANCELED, LONG_AGO, **earlier)
    assert ticks.requested() == KEYS


def test_runs_in_flight_and_a_tick_are_limited(ticks: PlannedTicks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "max_in_flight", lambda queue: 3)
    assert ticks.requested() == KEYS[:3]
    ticks.run("en|chunk_0099", DagsterRunStatus.STARTED)
    ticks.run("de|chunk_0000", DagsterRunStatus.STARTED)
    assert ticks.requested() == ["en|chunk_0000"]
    ticks.run("en|chunk_0098", DagsterRunStatus.STARTED)
    assert ticks.skip_message() == "4 due: 0 requested now, 1 active (3 of 3 runs)"
    monkeypatch.setattr(module, "max_in_flight", lambda queue: 30)
    monkeypatch.setattr(module, "PER_TICK", 2)
    assert len(ticks.requested()) == 2


def test_the_limit_follows_the_queue() -> None:
    class Queue:
        max_concurrent_runs = 4

    assert module.max_in_flight(Queue()) == 8
    Queue.max_concurrent_runs = -1
    assert module.max_in_flight(Queue()) == module.max_in_flight(None) == 20


def test_a_series_of_failures_limits_requests_to_one(ticks: PlannedTicks) -> None:
    for number in range(MAX_CONSECUTIVE_FAILURES):
        ticks.attempt("en|chunk_0000", 1, DagsterRunStatus.FAILURE, time.time() - 100 - number)
    assert "the last 8 runs failed, so one run at a time" in ticks.skip_message()
    ticks.attempt("en|chunk_0001", 1, DagsterRunStatus.SUCCESS)
    assert len(ticks.requested()) > 1


def test_a_systemic_failure_limits_requests_to_one(ticks: PlannedTicks) -> None:
    run_id = ticks.attempt("en|chunk_0000", 1, DagsterRunStatus.FAILURE, time.time() - 100, **{SYSTEMIC_TAG: "true"})
    assert (
        "0 requested now" in ticks.skip_message()
        and "of a kind that every run would meet, so one run at a time" in ticks.skip_message()
    )
    ticks._end(run_id, LONG_AGO)
    assert ticks.requested() == KEYS[:1]
    ticks.attempt("en|chunk_0001", 1, DagsterRunStatus.CANCELED)
    assert ticks.requested() == KEYS[:1], "a terminated run is not counted"
    ticks.attempt("de|chunk_0000", 1, DagsterRunStatus.SUCCESS)
    assert len(ticks.requested()) > 1


def test_languages_narrow_the_requests(ticks: PlannedTicks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGES", "de")
    assert ticks.requested() == KEYS[:1]


def test_a_long_status_line_is_shortened() -> None:
    names = [("en", number) for number in range(9)]
    selection = Selection([], 1, [400.0, 300.0], names, names[:1])
    assert status_line(selection, 20, "4 of 8 runs", None) == (
        "20 due: 0 requested now, 1 active (4 of 8 runs); 2 failed and are retried later, the next in 5 min; "
        "9 failed 5 times and are left: en|chunk_0000, en|chunk_0001, en|chunk_0002, en|chunk_0003, en|chunk_0004 and "
        "4 more: see their runs, then materialize them by hand; 1 were terminated and are left: en|chunk_0000: "
        "materialize them by hand to continue"
    )


def test_a_chunk_that_the_hub_lost_is_requested_like_a_new_one(ticks: PlannedTicks) -> None:
    """Earlier runs of the chunk do not count."""
    add_partitions(ticks.instance, [0, 1, 2])
    before = {request.run_key for request in ticks.requests()}
    for key in KEYS:
        for number in range(1, RUN_ATTEMPTS):
            ticks.attempt(key, number, DagsterRunStatus.FAILURE)
        ticks.attempt(key, RUN_ATTEMPTS, DagsterRunStatus.SUCCESS)
        committed(ticks, key)
    assert ticks.skip_message() == "nothing is due"
    record_due(ticks.instance, [Due(read_key(key), "gone") for key in KEYS], "me/speech", "reconcile")
    requests = ticks.requests()
    assert {request.tags[ATTEMPT_TAG] for request in requests} == {"1"} and len(requests) == len(before)
    assert before.isdisjoint(request.run_key for request in requests)
    assert {request.run_key for request in ticks.requests()} == {request.run_key for request in requests}


def test_another_dataset_has_other_run_keys(ticks: PlannedTicks, monkeypatch: pytest.MonkeyPatch) -> None:
    add_partitions(ticks.instance, [0, 1, 2])
    before = {request.run_key for request in ticks.requests()}
    monkeypatch.setenv("HF_REPO_ID", "me/other")
    assert before.isdisjoint(request.run_key for request in ticks.requests())
