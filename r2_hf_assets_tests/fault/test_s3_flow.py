"""The real job behind the proxy: a run with S3 errors completes, or fails with one line and shows nothing."""

import pytest

from r2_hf_assets_tests.fault.transient_errors import CAUSES, end_fault, inject
from r2_hf_assets_tests.support.world import World, materializations


@pytest.fixture
def planned(faulty: World) -> tuple[World, set[str]]:
    """A world with one chunk planned, and the keys of its rows."""
    summary = faulty.upload(episodes={"en": 2}, segments=(3, 3), seconds=(0.3, 0.4))
    assert faulty.scan() is None
    return faulty, {row.key for row in summary.rows}


def check_whole(world: World, keys: set[str]) -> None:
    assert sorted(row["audio"]["path"] for row in world.table().to_pylist()) == sorted(keys)
    assert len(world.commits()) == 1 and world.due() == []
    (shards,) = materializations(world, "parquet_shards")
    assert shards["rejects_by_reason"] == {} and shards["index"] == "metadata/en/chunk-00000.parquet"
    assert [row["key"] for row in world.index_rows() if row["reject_reason"] is None] == sorted(keys)
    assert world.indexes() == [shards["index"]]


@pytest.mark.parametrize("fault", ["503 SlowDown", "truncated"])
def test_a_burst_of_errors_loses_no_row(planned, proxy, fault):
    world, keys = planned
    inject(proxy, fault, r"processed/en", times=4)
    assert [run.error for run in world.build_due()] == [None]
    check_whole(world, keys)


@pytest.mark.parametrize(
    ("fault", "target"),
    [("503 SlowDown", "mp3"), ("wrong clock", "all_segments"), ("refused", "")],
)
def test_a_permanent_error_fails_the_partition_and_a_later_run_completes_it(planned, proxy, fault, target):
    world, keys = planned
    inject(proxy, fault, target)
    (run,) = world.build_due()
    assert run.error is not None and CAUSES[fault] in run.error and "\n" not in run.error
    assert world.due() == ["en|chunk_0000"]
    assert materializations(world, "parquet_shards") == materializations(world, "hub_commit") == []
    home = world.folder / "dagster_home" / "r2_hf_assets"
    assert [path for path in (home / "state" / "builds").rglob("*") if path.is_file()] == [], "no record"
    assert world.files() == []
    end_fault(proxy, fault)
    assert [run.error for run in world.build_due()] == [None]
    check_whole(world, keys)


def test_a_failed_scan_is_one_line_and_the_next_one_plans(faulty, proxy):
    faulty.upload(episodes={"en": 2}, segments=(2, 2), seconds=(0.3, 0.4))
    proxy.refuse()
    error = faulty.scan()
    assert error is not None and "R2_ENDPOINT_URL" in error and "\n" not in error
    proxy.listen()
    assert faulty.scan() is None and faulty.due() == ["en|chunk_0000"]


def test_a_build_whose_record_is_not_stored_is_not_built(faulty, proxy, monkeypatch):
    world = faulty
    monkeypatch.setenv("STATE_URL", f"s3://{world.bucket}/state")
    summary = world.upload(episodes={"en": 2}, segments=(3, 3), seconds=(0.3, 0.4))
    assert world.scan() is None
    inject(proxy, "503 SlowDown", "/state/builds/en/.*json")
    (run,) = world.build_due()
    assert run.error is not None and "HTTP 503 SlowDown" in run.error and "\n" not in run.error
    assert materializations(world, "parquet_shards") == [] and world.files() == []
    proxy.clear()
    inject(proxy, "reset", "/state/builds/en/chunk-00000", times=3)
    assert [run.error for run in world.build_due()] == [None]
    check_whole(world, {row.key for row in summary.rows})
