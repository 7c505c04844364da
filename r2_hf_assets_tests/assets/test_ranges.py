"""Several chunks by one commit on a real instance: each partition has its own record, one that fails stops no other."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from dagster import AssetKey, AssetRecordsFilter, DagsterEventType, DagsterInstance
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.events import RunFailureReason
from dagster._core.execution.retries import auto_reexecution_should_retry_run
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.partition_status_cache import AssetPartitionStatus
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARENT_RUN_ID_TAG,
    RETRY_NUMBER_TAG,
    RETRY_STRATEGY_TAG,
    ROOT_RUN_ID_TAG,
)

from r2_hf_assets.assets.launch import COMMIT, SHARDS, execute
from r2_hf_assets.assets.metadata import DIGEST_TAG
from r2_hf_assets.assets.partitions import chunk_partitions
from r2_hf_assets.assets.runs import SYSTEMIC_TAG
from r2_hf_assets.assets.signs_of_life import SignsOfLife
from r2_hf_assets.definitions import defs
from r2_hf_assets.errors import AccessError, DiskFull, GaveUp, StillUploading
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import load
from r2_hf_assets.shards import ahead
from r2_hf_assets_tests.assets.test_checks import LEDGER, ON_HUB, number, results
from r2_hf_assets_tests.world import World, materializations

KEYS = ["de|chunk_0000", "de|chunk_0001", "en|chunk_0000", "en|chunk_0001", "en|chunk_0002"]


@pytest.fixture
def planned(in_process: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Five chunks of two languages, and up to three in a commit."""
    monkeypatch.setenv("EPISODES_PER_CHUNK", "1")
    monkeypatch.setenv("CHUNKS_PER_COMMIT", "3")
    in_process.upload(episodes={"de": 2, "en": 3}, awkward=False, expect=False, segments=(2, 4), seconds=(0.3, 0.4))
    assert in_process.scan() is None
    assert in_process.due() == KEYS
    return in_process


@pytest.fixture
def build_fails(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Makes the build of some partitions fail; returns a list that grows by each that is built."""
    real, built = ahead.build_chunk, []

    def order(errors: dict[str, Exception]) -> list[str]:
        def build(chunk: Any, *arguments: Any, **options: Any) -> Any:
            key = f"{chunk.language}|chunk_{chunk.number:04d}"
            if key in errors:
                raise errors[key]
            ahead_of_its_run = threading.current_thread() is not threading.main_thread()
            built.append(f"{key} ahead" if ahead_of_its_run else key)
            return real(chunk, *arguments, **options)

        monkeypatch.setattr(ahead, "build_chunk", build)
        return built

    return order


def run(start: str, end: str, *assets: AssetKey, **tags: str) -> Any:
    """One run of a range, as a backfill starts it."""
    tags = {ASSET_PARTITION_RANGE_START_TAG: start, ASSET_PARTITION_RANGE_END_TAG: end, **tags}
    with DagsterInstance.get() as instance:
        return execute(instance, list(assets or (SHARDS, COMMIT)), None, tags=tags)


def status(key: str, asset: AssetKey = COMMIT) -> str | None:
    with DagsterInstance.get() as instance:
        found = (instance.get_status_by_partition(asset, [key], chunk_partitions) or {})[key]
    return found and found.value


def digests() -> dict[str, str]:
    settings = load()
    assert settings.r2 is not None
    planned = open_plan(settings.plan, settings.r2).planned()
    return {f"{chunk.language}|chunk_{chunk.number:04d}": chunk.digest for chunk in planned}


def tags_of(asset: AssetKey, key: str) -> dict[str, str]:
    with DagsterInstance.get() as instance:
        (record, *_) = instance.fetch_materializations(
            AssetRecordsFilter(asset, asset_partitions=[key]), limit=1
        ).records
    assert record.asset_materialization is not None
    return dict(record.asset_materialization.tags or {})


def test_a_commit_takes_several_and_each_partition_has_its_own_record(
    planned: World, build_fails: Callable[..., list[str]]
) -> None:
    built = build_fails({})
    done = planned.build_due()
    # While a run commits, the first chunk of the next one is built.
    assert built == [*KEYS[:2], f"{KEYS[2]} ahead", *KEYS[3:]]
    assert [(one.key, one.error) for one in done] == [(key, None) for key in KEYS]
    assert len({one.run_id for one in done}) == 2
    assert planned.due() == []
    assert [title.split(" (")[0] for title in planned.commits()] == [
        "Add en chunk-00000, en chunk-00001, en chunk-00002",
        "Add de chunk-00000, de chunk-00001",
    ]
    rows = planned.table().num_rows
    expected = digests()
    for asset, check in ((SHARDS, LEDGER), (COMMIT, ON_HUB)):
        found = {key: materializations(planned, asset.path[0], key) for key in KEYS}
        assert [len(records) for records in found.values()] == [1] * 5
        assert len(materializations(planned, asset.path[0])) == 5
        assert {key: records[0]["chunk_digest"] for key, records in found.items()} == expected
        assert sum(records[0]["dagster/row_count"] for records in found.values()) == rows > 0
        for key in KEYS:
            ((state, evaluation),) = results(check, key)
            assert (state, evaluation.passed, evaluation.partition) == ("SUCCEEDED", True, key)
            assert evaluation.target_materialization_data is not None and evaluation.blocking
            assert status(key, asset) == "MATERIALIZED"
        assert results(check) == []
    commits = [materializations(planned, "hub_commit", key)[0] for key in KEYS]
    assert len({commit["commit_oid"] for commit in commits}) == 2
    assert [commit["files"][0]["file"] for commit in commits] == planned.files()
    assert number(results(ON_HUB, KEYS[0])[0][1], "files_on_hub") == 1
    shards = planned.folder / "dagster_home" / "r2_hf_assets" / "shards"
    assert list(shards.rglob("*.parquet")) == []
    head = planned.head()
    assert run("en|chunk_0000", "en|chunk_0002").success
    assert planned.head() == head
    assert [materializations(planned, "hub_commit", key)[0]["committed"] for key in KEYS[2:]] == [False] * 3


def test_the_records_are_those_of_a_run_of_one_partition(planned: World) -> None:
    with DagsterInstance.get() as instance:
        key = chunk_partitions.get_partition_key_from_str("en|chunk_0002")
        assert execute(instance, [SHARDS, COMMIT], key).success
    one = {asset: tags_of(asset, "en|chunk_0002") for asset in (SHARDS, COMMIT)}
    head = planned.head()
    assert run("en|chunk_0002", "en|chunk_0002").success
    assert planned.head() == head
    for asset, before in one.items():
        after = tags_of(asset, "en|chunk_0002")
        assert after.keys() == before.keys() and after[DIGEST_TAG] == before[DIGEST_TAG]
        # Dagster writes a hash of the upstream partitions' versions, and both are taken for up to date.
        varies = ("code_version", "event_pointer", "input_data_version/parquet_shards")
        assert {name: value for name, value in after.items() if not any(word in name for word in varies)} == {
            name: value for name, value in before.items() if not any(word in name for word in varies)
        }
    assert planned.scan() is None
    assert run("en|chunk_0000", "en|chunk_0001").success
    with DagsterInstance.get() as instance:
        resolver = CachingStaleStatusResolver(instance, defs.resolve_asset_graph(), LoadingContextForTest(instance))
        for name in KEYS[2:]:
            assert [resolver.get_status(asset, name) for asset in (SHARDS, COMMIT)] == [StaleStatus.FRESH] * 2


def test_a_range_that_mixes_languages_records_the_cells_that_nobody_planned(
    planned: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHUNKS_PER_COMMIT", "2")
    assert run("de|chunk_0001", "en|chunk_0002").success
    assert len(planned.commits()) == 2, "a range may be larger than a commit"
    assert planned.due() == ["de|chunk_0000", "en|chunk_0000"]
    for asset in ("parquet_shards", "hub_commit"):
        assert materializations(planned, asset, "de|chunk_0001")[0]["planned"] is True
        (empty,) = materializations(planned, asset, "de|chunk_0002")
        assert empty == {"dagster/row_count": 0, "planned": False}
    for check in (LEDGER, ON_HUB):
        ((state, evaluation),) = results(check, "de|chunk_0002")
        assert (state, evaluation.description) == ("SUCCEEDED", "nothing planned")


def test_a_chunk_that_fails_stops_no_other_and_is_due_again(
    planned: World, build_fails: Callable[..., list[str]]
) -> None:
    built = build_fails({"en|chunk_0001": StillUploading("episode 7 is still uploading")})
    done = {one.key: one for one in planned.build_due()}
    assert {key: one.error for key, one in done.items() if one.error} == {
        "en|chunk_0001": "episode 7 is still uploading"
    }
    assert planned.due() == ["en|chunk_0001"] and len(planned.commits()) == 2
    assert [status(key) for key in KEYS[2:]] == ["MATERIALIZED", "FAILED", "MATERIALIZED"]
    assert status("en|chunk_0001", SHARDS) == AssetPartitionStatus.FAILED.value
    assert materializations(planned, "parquet_shards", "en|chunk_0001") == []
    # The run is retried, with all its steps; the retry builds what is missing and nothing else.
    with DagsterInstance.get() as instance:
        failed = instance.get_run_by_id(done["en|chunk_0001"].run_id)
        assert failed is not None and failed.tags[RETRY_STRATEGY_TAG] == "ALL_STEPS"
        assert auto_reexecution_should_retry_run(instance, failed, RunFailureReason.STEP_FAILURE)
        (failure,) = instance.all_logs(failed.run_id, of_type=DagsterEventType.STEP_FAILURE)
    said = failure.get_dagster_event().step_failure_data.user_failure_data
    assert said is not None
    assert said.description == "1 of 3 chunks failed: en|chunk_0001: episode 7 is still uploading"
    before = materializations(planned, "parquet_shards", "en|chunk_0000")
    build_fails({})
    built.clear()
    again = {RETRY_NUMBER_TAG: "1", ROOT_RUN_ID_TAG: failed.run_id, PARENT_RUN_ID_TAG: failed.run_id}
    assert run("en|chunk_0000", "en|chunk_0002", **again).success
    assert built == ["en|chunk_0001"]
    assert planned.due() == [] and len(planned.commits()) == 3
    assert materializations(planned, "parquet_shards", "en|chunk_0000") == before * 2
    assert [status(key, asset) for key in KEYS for asset in (SHARDS, COMMIT)] == ["MATERIALIZED"] * 10
    assert [state for state, _ in results(LEDGER, "en|chunk_0000")] == ["SUCCEEDED"] * 2
    assert planned.table().num_rows == sum(
        materializations(planned, "hub_commit", key)[0]["dagster/row_count"] for key in KEYS
    )
    # Who starts it again by hand wants it built again.
    built.clear()
    by_hand = {ROOT_RUN_ID_TAG: failed.run_id, PARENT_RUN_ID_TAG: failed.run_id}
    assert run("en|chunk_0000", "en|chunk_0000", **by_hand).success
    assert built == ["en|chunk_0000"]


@pytest.mark.parametrize(
    ("error", "retried"), [(DiskFull("/data: no space is left"), True), (AccessError("the bucket refuses"), False)]
)
def test_a_full_disk_or_a_refusal_ends_the_building_and_what_is_built_is_committed(
    planned: World, build_fails: Callable[..., list[str]], error: Exception, retried: bool
) -> None:
    built = build_fails({"en|chunk_0001": error})
    result = run("en|chunk_0000", "en|chunk_0002")
    assert not result.success and built == ["en|chunk_0000"]
    assert len(planned.commits()) == 1
    assert planned.due() == [*KEYS[:2], "en|chunk_0001", "en|chunk_0002"]
    with DagsterInstance.get() as instance:
        failed = instance.get_run_by_id(result.run_id)
        assert failed is not None
        assert auto_reexecution_should_retry_run(instance, failed, RunFailureReason.STEP_FAILURE) is retried
        assert (SYSTEMIC_TAG in failed.tags) is not retried


def test_when_all_fail_nothing_is_committed(planned: World, build_fails: Callable[..., list[str]]) -> None:
    build_fails(dict.fromkeys(KEYS, GaveUp("GET x: 503 eight times")) | {"en|chunk_0002": RuntimeError("a fault")})
    done = planned.build_due()
    assert [one.error for one in done] == ["GET x: 503 eight times"] * 4 + ["RuntimeError: a fault"]
    assert not planned.api().repo_exists(planned.repo_id, repo_type="dataset")
    assert planned.due() == KEYS


def test_shards_alone_fail_by_themselves_and_a_later_commit_takes_what_is_there(
    planned: World, build_fails: Callable[..., list[str]]
) -> None:
    build_fails({"en|chunk_0001": GaveUp("GET x: 503 eight times")})
    assert not run("en|chunk_0000", "en|chunk_0002", SHARDS).success
    assert [len(materializations(planned, "parquet_shards", key)) for key in KEYS[2:]] == [1, 0, 1]
    shards = planned.folder / "dagster_home" / "r2_hf_assets" / "shards"
    (shards / "en" / "chunk-00002.parquet").unlink()
    assert not run("en|chunk_0000", "en|chunk_0002", COMMIT).success
    assert planned.files() == ["data/en/chunk-00000.parquet"]
    assert planned.due() == [*KEYS[:2], "en|chunk_0001", "en|chunk_0002"]


def test_a_wait_that_the_hub_asks_for_is_waited_in_the_slot_of_the_pool(
    planned: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = []
    with DagsterInstance.get() as instance:
        instance.event_log_storage.set_concurrency_slots("hub", 1)

    def sleep(self: SignsOfLife, seconds: float) -> None:
        with DagsterInstance.get() as instance:
            slots = instance.event_log_storage.get_concurrency_info("hub").claimed_slots
        waits.append((seconds, [slot.step_key for slot in slots]))

    monkeypatch.setattr(SignsOfLife, "sleep", sleep)
    busy = {
        "method": "POST",
        "path_regex": f"{planned.repo_id}/commit/",
        "status": 429,
        "headers": {"Retry-After": "77"},
    }
    planned.sandbox.hub.faults(busy | {"times": 1})
    try:
        assert run("en|chunk_0000", "en|chunk_0000").success
    finally:
        planned.sandbox.hub.clear_faults()
    assert waits == [(77.0, ["hub_commit"])]
    with DagsterInstance.get() as instance:
        assert instance.event_log_storage.get_concurrency_info("hub").claimed_slots == []
