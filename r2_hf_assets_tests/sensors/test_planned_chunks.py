"""planned_chunks on a real plan and instance: whom it asks for, whom it leaves to others, and what it says."""

import time

import pytest
from dagster import AssetMaterialization, DagsterRunStatus
from dagster._core.storage.tags import BACKFILL_ID_TAG, RETRY_ON_ASSET_OR_OP_FAILURE_TAG

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.definitions import defs
from r2_hf_assets.partitions import add_partitions, read_key
from r2_hf_assets.plan.dispatch import MAX_CONSECUTIVE_FAILURES, Selection
from r2_hf_assets.reconcile.report import Due
from r2_hf_assets.retry import RUN_ATTEMPTS
from r2_hf_assets.runs.outcome import SYSTEMIC_TAG
from r2_hf_assets.runs.recovered import record_due
from r2_hf_assets.sensors import planned_chunks as module
from r2_hf_assets.sensors.planned_chunks import line
from r2_hf_assets_tests.sensors.ticks import KEYS, LONG_AGO, Ticks


def committed(ticks: Ticks, key: str, digest: str | None = None) -> None:
    tags = {"dagster/data_version": digest or ticks.digests[key]}
    ticks.instance.report_runless_asset_event(AssetMaterialization(COMMIT, partition=key, tags=tags))


def test_it_asks_for_what_is_due_and_adds_the_partitions(ticks: Ticks) -> None:
    add_partitions(ticks.instance, [1])
    committed(ticks, "en|chunk_0000")
    committed(ticks, "en|chunk_0001", "another digest")
    result = ticks()
    assert [request.partition_key for request in result.run_requests or ()] == [KEYS[0], KEYS[2], KEYS[3]]
    assert set(ticks.instance.get_dynamic_partitions("plan_chunk")) == {"chunk_0000", "chunk_0001", "chunk_0002"}
    request = (result.run_requests or [])[0]
    assert request.tags["r2_hf_assets/attempt"] == "1" and request.tags[RETRY_ON_ASSET_OR_OP_FAILURE_TAG] == "false"
    assert request.run_key == f"de|chunk_0000 {ticks.digests['de|chunk_0000']}@me/speech 1"
    for key in KEYS:
        committed(ticks, key)
    assert ticks.said() == "nothing is due"


@pytest.mark.filterwarnings("ignore:Non-compliant tag keys:DeprecationWarning")  # Dagster's own
def test_a_request_carries_language_and_chunk(ticks: Ticks) -> None:
    add_partitions(ticks.instance, [0, 1, 2])
    (request, *_) = ticks.requests()
    job = defs.resolve_job_def("build_job")
    resolved = request.with_resolved_tags_and_config(
        job, dynamic_partitions_requests=[], dynamic_partitions_store=ticks.instance
    )
    assert (resolved.tags["language"], resolved.tags["chunk"]) == ("de", "chunk_0000")
    assert resolved.tags["dagster/partition"] == "de|chunk_0000"


@pytest.mark.parametrize("status", [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING])
def test_a_run_of_anyone_keeps_it_from_the_partition(ticks: Ticks, status: DagsterRunStatus) -> None:
    ticks.run("en|chunk_0000", status)
    ticks.run("2026-01-01", status)  # of another project
    assert ticks.asked() == [KEYS[0], KEYS[2], KEYS[3]]


def test_attempts_are_counted_from_the_runs(ticks: Ticks) -> None:
    for number in (1, 2):
        ticks.attempt("en|chunk_0000", number, DagsterRunStatus.FAILURE)
    ticks.attempt("en|chunk_0000", 2, DagsterRunStatus.FAILURE)  # Dagster's retry of the second one
    earlier = {"r2_hf_assets/chunk_digest": "of an earlier plan"}
    ticks.attempt("en|chunk_0001", 4, DagsterRunStatus.FAILURE, LONG_AGO, **earlier)
    ticks.attempt("en|chunk_0002", 1, DagsterRunStatus.SUCCESS)  # and then somebody wiped its materialization
    attempts = {request.partition_key: request.run_key and request.run_key[-2:] for request in ticks.requests()}
    assert attempts == dict(zip(KEYS, (" 1", " 3", " 1", " 2"), strict=True))


def test_a_failure_waits_and_the_end_is_named(ticks: Ticks) -> None:
    for key in KEYS:
        ticks.attempt(key, RUN_ATTEMPTS, DagsterRunStatus.FAILURE)
    ticks.attempt("en|chunk_0002", 1, DagsterRunStatus.FAILURE, time.time())
    assert ticks.said() == (
        "4 due: 0 asked for now, 0 in hand (0 of 20 runs); 4 failed 5 times and are left: de|chunk_0000, "
        "en|chunk_0000, en|chunk_0001, en|chunk_0002: see their runs, then materialize them by hand"
    )


def test_a_fresh_failure_waits_whoever_asked_for_the_run(ticks: Ticks) -> None:
    ticks.attempt("de|chunk_0000", 1, DagsterRunStatus.FAILURE, time.time())
    ticks.run("en|chunk_0000", DagsterRunStatus.FAILURE, time.time())
    assert ticks.asked() == KEYS[2:]


def test_a_terminated_run_is_left_until_a_person_asks(ticks: Ticks) -> None:
    ticks.attempt("de|chunk_0000", 1, DagsterRunStatus.CANCELED)
    assert ticks.asked() == KEYS[1:]
    ticks.run("de|chunk_0000", DagsterRunStatus.FAILURE)
    assert ticks.asked() == KEYS


def test_a_canceled_run_of_a_backfill_holds_nothing(ticks: Ticks) -> None:
    ticks.run("de|chunk_0000", DagsterRunStatus.CANCELED, time.time(), **{BACKFILL_ID_TAG: "canceled"})
    assert ticks.asked() == KEYS, "as if it was never tried, so without a wait"


def test_a_terminated_run_of_other_members_holds_nothing(ticks: Ticks) -> None:
    earlier = {"r2_hf_assets/chunk_digest": "of an earlier plan"}
    ticks.attempt("de|chunk_0000", 1, DagsterRunStatus.CANCELED, LONG_AGO, **earlier)
    assert ticks.asked() == KEYS


def test_runs_in_flight_and_a_tick_are_limited(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "in_flight", lambda queue: 3)
    assert ticks.asked() == KEYS[:3]
    ticks.run("en|chunk_0099", DagsterRunStatus.STARTED)
    ticks.run("de|chunk_0000", DagsterRunStatus.STARTED)
    assert ticks.asked() == ["en|chunk_0000"]
    ticks.run("en|chunk_0098", DagsterRunStatus.STARTED)
    assert ticks.said() == "4 due: 0 asked for now, 1 in hand (3 of 3 runs)"
    monkeypatch.setattr(module, "in_flight", lambda queue: 30)
    monkeypatch.setattr(module, "PER_TICK", 2)
    assert len(ticks.asked()) == 2


def test_the_limit_follows_the_queue() -> None:
    class Queue:
        max_concurrent_runs = 4

    assert module.in_flight(Queue()) == 8
    Queue.max_concurrent_runs = -1
    assert module.in_flight(Queue()) == module.in_flight(None) == 20


def test_after_a_series_of_failures_one_at_a_time(ticks: Ticks) -> None:
    for number in range(MAX_CONSECUTIVE_FAILURES):
        ticks.attempt("en|chunk_0000", 1, DagsterRunStatus.FAILURE, time.time() - 100 - number)
    assert "the last 8 runs failed, so one at a time is tried" in ticks.said()
    ticks.attempt("en|chunk_0001", 1, DagsterRunStatus.SUCCESS)
    assert len(ticks.asked()) > 1


def test_after_a_failure_that_every_run_would_meet_one_at_a_time(ticks: Ticks) -> None:
    run_id = ticks.attempt("en|chunk_0000", 1, DagsterRunStatus.FAILURE, time.time() - 100, **{SYSTEMIC_TAG: "true"})
    assert "0 asked for now" in ticks.said() and "of a kind that every run would meet, so one at a time" in ticks.said()
    ticks._end(run_id, LONG_AGO)
    assert ticks.asked() == KEYS[:1]
    ticks.attempt("en|chunk_0001", 1, DagsterRunStatus.CANCELED)
    assert ticks.asked() == KEYS[:1], "a run that was terminated says nothing"
    ticks.attempt("de|chunk_0000", 1, DagsterRunStatus.SUCCESS)
    assert len(ticks.asked()) > 1


def test_languages_narrow_what_is_asked_for(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGES", "de")
    assert ticks.asked() == KEYS[:1]


def test_many_are_named_briefly() -> None:
    names = [("en", number) for number in range(9)]
    made = Selection([], 1, [400.0, 300.0], names, names[:1])
    assert line(made, 20, "4 of 8 runs", None) == (
        "20 due: 0 asked for now, 1 in hand (4 of 8 runs); 2 failed and are tried again later, the next in 5 min; "
        "9 failed 5 times and are left: en|chunk_0000, en|chunk_0001, en|chunk_0002, en|chunk_0003, en|chunk_0004 and "
        "4 more: see their runs, then materialize them by hand; 1 were terminated and are left: en|chunk_0000: "
        "materialize them by hand to go on"
    )


def test_a_chunk_that_the_hub_lost_is_asked_for_like_a_new_one(ticks: Ticks) -> None:
    """Whatever runs there were of it, and however many: they were not about what is due now."""
    add_partitions(ticks.instance, [0, 1, 2])
    before = {request.run_key for request in ticks.requests()}
    for key in KEYS:
        for number in range(1, RUN_ATTEMPTS):
            ticks.attempt(key, number, DagsterRunStatus.FAILURE)
        ticks.attempt(key, RUN_ATTEMPTS, DagsterRunStatus.SUCCESS)
        committed(ticks, key)
    assert ticks.said() == "nothing is due"
    record_due(ticks.instance, [Due(read_key(key), "gone") for key in KEYS], "me/speech", "reconcile")
    asked = ticks.requests()
    assert {request.tags["r2_hf_assets/attempt"] for request in asked} == {"1"} and len(asked) == len(before)
    assert before.isdisjoint(request.run_key for request in asked)
    assert {request.run_key for request in ticks.requests()} == {request.run_key for request in asked}


def test_another_dataset_is_asked_for_by_other_run_keys(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    add_partitions(ticks.instance, [0, 1, 2])
    before = {request.run_key for request in ticks.requests()}
    monkeypatch.setenv("HF_REPO_ID", "me/other")
    assert before.isdisjoint(request.run_key for request in ticks.requests())
