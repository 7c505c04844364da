"""What the history reads from events as Dagster stores them, compared with what Dagster reads."""

import pytest
from dagster import (
    AssetMaterialization,
    DagsterInstance,
    TableColumn,
    TableMetadataValue,
    TableRecord,
    TableSchema,
)
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.partitions import add_partitions, partition_key
from r2_hf_assets.runs import history
from r2_hf_assets.runs.history import CommitSummary, commit_summaries, files_of, latest_commits, recorded_digests
from r2_hf_assets.shards.record import ShardFile
from r2_hf_assets_tests.support.world import World


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "PAGE", 2)


def test_a_summary_has_the_values_of_the_latest_commit(in_process: World) -> None:
    in_process.upload(episodes={"en": 9}, segments=(1, 1), expect=False)
    assert in_process.scan() is None
    assert [run.error for run in in_process.build_due()] == [None] * 3
    assert in_process.build("en|chunk_0001") is None  # recorded again
    with DagsterInstance.get() as instance:
        summaries = sorted(commit_summaries(instance), key=lambda summary: summary.name)
        events = sorted(latest_commits(instance), key=lambda event: event[0])
    assert summaries == [
        CommitSummary(
            event=record.storage_id,
            name=name,
            at=record.timestamp,
            hours=event.metadata["hours"].value,  # type: ignore[arg-type]
            uri=event.metadata["dagster/uri"].value,  # type: ignore[arg-type]
            by_run=True,
            rows=event.metadata["dagster/row_count"].value,  # type: ignore[arg-type]
            bytes=event.metadata["bytes"].value,  # type: ignore[arg-type]
            quota_wait_s=0.0,
        )
        for name, event, record in events
    ]
    assert [summary.name for summary in summaries] == [("en", 0), ("en", 1), ("en", 2)]


def test_commits_of_release_0_1_0_count_for_the_dataset_in_their_uri() -> None:
    uris = [f"https://huggingface.co/datasets/{repo}/commit/0a1b" for repo in ("me/speech", "me/other", "me/speech")]
    with DagsterInstance.ephemeral() as instance:
        add_partitions(instance, range(4))
        for number, uri in enumerate([*uris, None]):
            metadata = {"dagster/uri": uri} if uri else {}
            key, tags = partition_key("en", number), {DATA_VERSION_TAG: f"digest {number}"}
            instance.report_runless_asset_event(
                AssetMaterialization(COMMIT, partition=key, metadata=metadata, tags=tags)
            )
        for _ in range(2):  # the second time from the cache
            recorded = recorded_digests(instance, COMMIT, "me/speech")
            assert recorded == {("en", number): f"digest {number}" for number in (0, 2, 3)}


def test_a_bare_file_name_is_a_path_of_its_partition() -> None:
    rows = [("chunk-00001.parquet", "0a"), ("data/en/chunk-00001.parquet", "none")]
    table = TableMetadataValue(
        [TableRecord({"file": name, "rows": 3, "bytes": 9, "sha256": sha256}) for name, sha256 in rows],
        TableSchema([TableColumn(name) for name in ("file", "rows", "bytes", "sha256")]),
    )
    event = AssetMaterialization(COMMIT, partition=partition_key("en", 1), metadata={"files": table})
    path = "data/en/chunk-00001.parquet"
    assert files_of(event) == (ShardFile(path, 3, 9, "0a"), ShardFile(path, 3, 9, ""))
