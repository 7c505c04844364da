"""The main job in one process, on the sandbox's bucket and Hub."""

import hashlib
import math
from collections import Counter

import pytest
from dagster import AssetKey, DagsterInstance

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.cli.in_process import execute
from r2_hf_assets.partitions import partition_key
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import load
from r2_hf_assets.shards.stats import Stats
from r2_hf_assets_tests.support.world import World, materializations

EPISODES = {"en": 4, "en-US": 2, "deu": 2, "in": 1, "junk": 1}


def test_every_good_segment_arrives_once_with_its_bytes(in_process: World) -> None:
    world = in_process
    summary = world.upload(episodes=EPISODES, awkward=True)
    assert world.scan() is None
    assert [run.error for run in world.build_due()] == [None] * 8
    rows = world.table().to_pylist()
    by_key = {row["audio"]["path"]: row for row in rows}
    assert len(by_key) == len(rows)
    assert set(by_key) == {row.key for row in summary.rows}
    for expected in summary.rows:
        row = by_key[expected.key]
        assert row["audio"]["bytes"] == world.object(expected.key)
        assert hashlib.sha256(row["audio"]["bytes"]).hexdigest() == expected.sha256
        assert row["text"] == expected.text
        assert row["speaker_id"] == expected.speaker
        assert _close(row["duration_seconds"], expected.duration)
        assert _close(row["dnsmos"], expected.dnsmos)


def _close(value: float | None, expected: float | None) -> bool:
    if value is None or expected is None:
        return value is expected
    return math.isclose(value, expected, rel_tol=1e-6, abs_tol=1e-6)


def test_languages_follow_folders_and_segments(in_process: World) -> None:
    world = in_process
    world.upload(episodes=EPISODES)
    world.scan()
    world.build_due()
    with world.dataset_folder() as folder:
        assert sorted(path.name for path in (folder / "data").iterdir()) == ["de", "en", "id", "unknown"]
    by_folder: dict[str, set[str]] = {}
    for row in world.table().to_pylist():
        by_folder.setdefault(row["audio"]["path"].split("/")[1], set()).add(row["language"])
    assert by_folder == {"en": {"en"}, "en-US": {"en"}, "deu": {"de"}, "in": {"id"}, "junk": {"unknown"}}


def test_the_indexes_have_every_row_and_reject_by_reason(in_process: World) -> None:
    world = in_process
    summary = world.upload(episodes={"en": 1}, awkward=True)
    world.scan()
    world.build_due()
    reasons: Counter[str] = Counter()
    for metadata in materializations(world, "parquet_shards"):
        reasons.update(metadata["rejects_by_reason"])
        assert metadata["episodes"] == metadata["episodes_with_rows"] + metadata["episodes_rejected"]
        assert metadata["segments"] == metadata["dagster/row_count"] + metadata["segments_rejected"]
    assert reasons == Counter(reject.reason for reject in summary.rejects)
    lines = [(line["key"], line["reject_reason"]) for line in world.index_rows()]
    rejects = [(reject.key, reject.reason) for reject in summary.rejects]
    assert Counter(lines) == Counter([*rejects, *((row.key, None) for row in summary.rows)])


def test_five_rescans_grow_the_plan_and_shift_nothing(in_process: World) -> None:
    world = in_process
    manifests: dict[str, bytes] = {}
    planned: list[str] = []
    for count in (2, 4, 5, 9, 10):
        world.upload(episodes={"en": count, "de": count // 2}, expect=False)
        assert world.scan() is None
        state = world.folder / "dagster_home" / "r2_hf_assets" / "state" / "plan"
        now = {str(path.relative_to(state)): path.read_bytes() for path in state.glob("*/chunk_*.json")}
        assert {name: now[name] for name in manifests} == manifests
        assert len(now) > len(manifests)
        manifests = now
    settings = load()
    plan = open_plan(settings.plan, settings.r2)
    for language, number in (p.name for p in plan.planned()):
        chunk = plan.read(language, number)
        assert chunk is not None
        planned += chunk.episodes
    assert len(planned) == len(set(planned)) == 10 + 5
    assert world.build_due()
    assert world.due() == []
    assert len({row["audio"]["path"].rsplit("/", 1)[0] for row in world.table().to_pylist()}) == 15


def test_reruns_do_not_change_the_head(in_process: World) -> None:
    world = in_process
    world.upload(episodes={"en": 4})
    world.scan()
    world.build_due()
    head, commits = world.head(), world.commits()
    assert len(commits) == 2
    assert [world.build(f"en|chunk_000{number}") for number in (0, 1)] == [None, None]
    assert world.head() == head
    assert world.commits() == commits
    assert materializations(world, "hub_commit", "en|chunk_0001")[0]["committed"] is False
    shards = materializations(world, "parquet_shards", "en|chunk_0001")
    assert shards[0]["files"] == shards[1]["files"]


def test_a_larger_chunk_is_split_and_a_smaller_one_drops_its_parts(
    in_process: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = in_process
    monkeypatch.setenv("PARQUET_MAX_BYTES", "150000")
    monkeypatch.setenv("PARQUET_ROWGROUP_BYTES", "60000")
    world.upload(episodes={"en": 3})
    world.scan()
    world.build_due()
    parts = world.files()
    assert len(parts) > 1
    assert parts == [f"data/en/chunk-00000-part-{n:02d}.parquet" for n in range(len(parts))]
    assert all(file["bytes"] <= 150_000 for file in materializations(world, "hub_commit")[0]["files"])
    split = world.table()
    monkeypatch.delenv("PARQUET_MAX_BYTES")
    assert world.build("en|chunk_0000") is None
    assert world.files() == ["data/en/chunk-00000.parquet"]
    assert world.table().to_pylist() == split.to_pylist()
    assert materializations(world, "hub_commit")[0]["removed"] == parts


def test_an_unplanned_cell_succeeds_with_0_rows_and_is_due_once_planned(in_process: World) -> None:
    world = in_process
    world.upload(episodes={"en": 4, "de": 1})
    world.scan()
    assert world.build("de|chunk_0001") is None
    assert materializations(world, "parquet_shards", "de|chunk_0001")[0]["planned"] is False
    assert materializations(world, "hub_commit", "de|chunk_0001")[0]["dagster/row_count"] == 0
    assert "de|chunk_0001" not in world.due()
    world.upload(episodes={"de": 3}, expect=False)
    world.scan()
    assert "de|chunk_0001" in world.due()


def test_a_filter_narrows_the_scan(in_process: World) -> None:
    world = in_process
    world.upload(episodes=EPISODES, expect=False)
    assert world.scan(languages=["de"]) is None
    assert world.due() == ["de|chunk_0000"]
    assert world.scan(languages=["klingon"]) == ("languages: klingon: no known language; nothing was planned")
    metadata = materializations(world, "work_plan")[0]
    assert metadata["folders_left_out"] == {"en": 2, "id": 1, "unknown": 1}
    assert metadata["unknown_folders"] == ["junk"]
    assert metadata["languages_that_fit"] == "LANGUAGES=de,en,id,unknown"


def test_a_partition_fails_while_its_upload_continues_and_completes_afterwards(
    in_process: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = in_process
    monkeypatch.setenv("SETTLE_MINUTES", "15")
    summary = world.upload(episodes={"en": 1})
    late = summary.rows[-1].key
    body = world.object(late)
    import obstore

    obstore.delete(world.store(), late)
    world.scan()
    (run,) = world.build_due()
    assert run.error is not None
    assert "still uploading" in run.error
    assert late in run.error
    assert world.due() == ["en|chunk_0000"]
    obstore.put(world.store(), late, body)
    assert [run.error for run in world.build_due()] == [None]
    assert late in world.row_keys()


def test_a_plan_on_s3_lets_another_machine_commit(in_process: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world = in_process
    monkeypatch.setenv("STATE_URL", f"s3://{world.bucket}/state")
    summary = world.upload(episodes={"en": 3}, awkward=True)
    world.scan()
    with DagsterInstance.get() as instance:
        assert execute(instance, [SHARDS], partition_key("en", 0)).success
    elsewhere = world.folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(elsewhere))
    with DagsterInstance.get() as instance:
        world.scan()
        assert execute(instance, [COMMIT], partition_key("en", 0)).success
    assert set(world.row_keys()) & {row.key for row in summary.rows}
    assert world.files() == ["data/en/chunk-00000.parquet"]


def test_metadata_agrees_with_the_dataset_and_the_head(in_process: World) -> None:
    world = in_process
    world.upload(episodes={"en": 1})
    world.scan()
    world.build_due()
    shards = materializations(world, "parquet_shards")[0]
    commit = materializations(world, "hub_commit")[0]
    assert [column.name for column in shards["dagster/column_schema"].columns] == [
        "audio",
        "text",
        "speaker_id",
        "duration_seconds",
        "dnsmos",
        "language",
    ]
    table = world.table()
    assert shards["dagster/row_count"] == commit["dagster/row_count"] == table.num_rows
    assert math.isclose(shards["hours"], sum(table["duration_seconds"].to_pylist()) / 3600, abs_tol=1e-4)
    assert shards["audio_bytes"] == sum(len(row["audio"]["bytes"]) for row in table.to_pylist())
    stats = Stats.from_json(commit["stats"])
    assert stats.rows == table.num_rows == sum(stats.duration_s) == sum(stats.dnsmos)
    assert (stats.episodes, stats.speakers) == (1, len(set(table["speaker_id"].to_pylist())))
    assert shards["speakers"] == stats.speakers and "stats" not in shards
    assert math.isclose(stats.audio_seconds, sum(table["duration_seconds"].to_pylist()), abs_tol=1e-2)
    assert commit["commit_oid"] == world.head()
    assert commit["commit"] == f"{world.sandbox.hub.endpoint}/datasets/{world.repo_id}/commit/{world.head()}"
    assert [file["file"] for file in commit["files"]] == [*world.files(), shards["index"]]
    for file in commit["files"]:
        (remote,) = world.api().get_paths_info(world.repo_id, [file["file"]], repo_type="dataset")
        assert (file["sha256"], file["bytes"]) == (remote.lfs.sha256, remote.size)
    assert shards["files"] == commit["files"], "by their paths in the repo"
    with DagsterInstance.get() as instance:
        event = instance.get_latest_materialization_event(AssetKey("hub_commit"))
    assert event is not None and event.asset_materialization is not None
    tags = event.asset_materialization.tags or {}
    assert tags["dagster/data_version"] == f"{commit['chunk_digest']}@{world.repo_id}"
