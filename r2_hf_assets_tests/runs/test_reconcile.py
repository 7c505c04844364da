"""Reconcile: a lost database, lost build records, files that are missing on the Hub."""

import shutil

import pytest
from dagster import DagsterInstance
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.partition_status_cache import AssetPartitionStatus

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.partitions import chunk_partitions, plan_chunk_partitions
from r2_hf_assets.reconcile.report import Report
from r2_hf_assets.runs.history import recorded_digests
from r2_hf_assets.runs.reconcile import examine, line
from r2_hf_assets.settings import load
from r2_hf_assets_tests.support.world import World, materializations

EPISODES = {"en": 4, "deu": 1}


@pytest.fixture
def built(in_process: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Two languages planned, built and committed; plan and build records are outside DAGSTER_HOME."""
    world = in_process
    monkeypatch.setenv("STATE_URL", str(world.folder / "state"))
    monkeypatch.setenv("EPISODES_PER_CHUNK", "8")
    world.upload(episodes=EPISODES, awkward=True, expect=False)
    assert world.scan() is None
    assert {run.error for run in world.build_due()} == {None}
    return world


def lose_the_database(world: World, monkeypatch: pytest.MonkeyPatch, name: str = "new_home") -> None:
    home = world.folder / name
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))


def reconcile(*, record: bool = False) -> Report:
    with DagsterInstance.get() as instance:
        return examine(instance, load(), record_found=record)


def up_to_date(instance: DagsterInstance, keys: list[str]) -> bool:
    """Whether the UI shows these partitions as fresh."""
    from r2_hf_assets.definitions import defs

    resolver = CachingStaleStatusResolver(instance, defs.resolve_asset_graph(), LoadingContextForTest(instance))
    return {resolver.get_status(asset, key) for asset in (SHARDS, COMMIT) for key in keys} == {StaleStatus.FRESH}


def test_chunks_are_recorded_again_after_a_lost_database(built: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = reconcile()
    assert first.differences == []
    assert (first.planned, first.recorded, first.as_built, first.due) == (3, 3, 3, 0)
    assert first.revision == built.head()
    with DagsterInstance.get() as instance:
        before = recorded_digests(instance, SHARDS), recorded_digests(instance, COMMIT)

    lose_the_database(built, monkeypatch)  # the build records are left
    chunks = built.due()
    report = reconcile()
    assert (report.counts, report.unproven) == ({"present_unrecorded": len(chunks)}, [])
    assert built.due() == chunks
    assert len(reconcile(record=True).recordable) == len(chunks) == 3
    assert built.due() == []
    with DagsterInstance.get() as instance:
        assert (recorded_digests(instance, SHARDS), recorded_digests(instance, COMMIT)) == before
        assert set(instance.get_dynamic_partitions(plan_chunk_partitions.name or "")) == {"chunk_0000", "chunk_0001"}
    assert reconcile().differences == []
    metadata = materializations(built, "hub_commit", "de|chunk_0000")[0]
    assert metadata["stats"]["rows"] == metadata["dagster/row_count"] > 0
    assert (metadata["recorded_by"], metadata["verified_by"]) == ("reconcile", "the build record")
    assert metadata["revision"] == built.head() == first.revision
    assert [file["file"] for file in metadata["files"]] == [
        "data/de/chunk-00000.parquet",
        "metadata/de/chunk-00000.parquet",
    ]
    assert (
        metadata["dagster/row_count"] == metadata["files"][0]["rows"]
        and metadata["bytes"] == metadata["files"][0]["bytes"]
    )

    lose_the_database(built, monkeypatch, "another_home")  # and the build records too
    shutil.rmtree(built.folder / "state" / "builds")
    assert len(reconcile().unproven) == 3
    assert built.due() == chunks
    assert len(reconcile(record=True).recordable) == len(chunks)
    assert built.due() == []
    with DagsterInstance.get() as instance:
        statuses = instance.get_status_by_partition(COMMIT, chunks, chunk_partitions)
        assert statuses == dict.fromkeys(chunks, AssetPartitionStatus.MATERIALIZED)
    rows = [event["dagster/row_count"] for event in materializations(built, "hub_commit")]
    assert sum(rows) == built.table().num_rows
    metadata = materializations(built, "parquet_shards", "de|chunk_0000")[0]
    assert metadata["verified_by"] == "its index"
    assert metadata["stats"]["rows"] == metadata["dagster/row_count"]
    again = reconcile(record=True)
    assert (again.differences, again.recordable, again.as_built) == ([], [], 3)
    assert built.scan() is None
    with DagsterInstance.get() as instance:
        assert up_to_date(instance, chunks)


def test_chunks_rebuilt_with_other_settings_after_a_lost_database_are_recorded(
    built: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The case of the hint `reconcile --record`: the Hub's files are complete but differ from this build."""
    head = built.head()
    lose_the_database(built, monkeypatch)
    shutil.rmtree(built.folder / "state" / "builds")
    monkeypatch.setenv("PARQUET_ROWGROUP_BYTES", "4000")
    runs = built.build_due()
    assert {run.error and "`r2-hf reconcile --record`, or delete it" in run.error for run in runs} == {True}
    assert built.head() == head
    report = reconcile(record=True)
    assert (len(report.recordable), report.counts) == (3, {"present_unrecorded": 3})
    assert (built.due(), built.head()) == ([], head)


def test_a_chunk_that_lacks_a_segment_stays_due(built: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    lose_the_database(built, monkeypatch)
    shutil.rmtree(built.folder / "state" / "builds")
    path = "data/de/chunk-00000.parquet"
    with built.dataset_folder() as folder:
        table = pq.read_table(folder / path)
        lost = table.slice(1, 1).to_pylist()[0]["audio"]["path"]
        shorter = folder / "shorter.parquet"
        kept = table.filter([index != 1 for index in range(table.num_rows)])
        pq.write_table(kept, shorter)
        built.api().upload_file(path_or_fileobj=shorter, path_in_repo=path, repo_id=built.repo_id, repo_type="dataset")
    report = reconcile(record=True)
    assert [line(d) for d in report.differences if d.kind == "unverifiable"] == [
        "unverifiable: de|chunk_0000: its files are not those that its index names"
    ]
    assert built.due() == ["de|chunk_0000"]
    assert [run.error for run in built.build_due()] == [None]
    assert lost in {row["audio"]["path"] for row in built.table().to_pylist()}


def test_missing_changed_and_unknown_files_are_reported(built: World) -> None:
    api, where = built.api(), {"repo_id": built.repo_id, "repo_type": "dataset"}
    api.delete_file("data/de/chunk-00000.parquet", **where)
    api.delete_file("metadata/en/chunk-00000.parquet", **where)
    unknown = [f"{folder}/en/chunk-00099.parquet" for folder in ("data", "metadata")]
    unknown += ["data/en/chunk-00000-part-03.parquet", "data/notes.txt", "elsewhere.txt"]
    for path in unknown:
        api.upload_file(path_or_fileobj=b"unknown", path_in_repo=path, **where)
    api.upload_file(path_or_fileobj=b"other", path_in_repo="data/en/chunk-00001.parquet", **where)
    report = reconcile()
    lines = [line(difference) for difference in report.differences]
    assert [text.split(";")[0].split(", ")[0] for text in lines][:2] == [
        "recorded_absent: de|chunk_0000: 1 of 2 files: data/de/chunk-00000.parquet",
        "recorded_absent: en|chunk_0000: 1 of 2 files: metadata/en/chunk-00000.parquet",
    ]
    assert lines[2].startswith("other_content: en|chunk_0001: data/en/chunk-00001.parquet: ")
    assert lines[3:] == [
        "stale_parts: en|chunk_0000: data/en/chunk-00000-part-03.parquet",
        "unknown_file: data/en/chunk-00099.parquet",
        "unknown_file: data/notes.txt",
        "unknown_file: metadata/en/chunk-00099.parquet",
    ]
    assert [due.name for due in report.lost] == [("de", 0), ("en", 0), ("en", 1)]
    assert report.recordable == []


def test_an_uncommitted_plan_has_no_difference(in_process: World) -> None:
    in_process.upload(episodes={"en": 1}, expect=False)
    in_process.scan()
    report = reconcile(record=True)
    assert (report.revision, report.planned, report.due, report.nothing) == (None, 1, 1, 1)
    assert report.differences == []
