"""Chunks that the Hub lost are due again, and a build without a commit is used by the next run."""

import shutil

import pytest
from dagster import DagsterInstance
from dagster._core.storage.partition_status_cache import AssetPartitionStatus
from huggingface_hub import constants

from r2_hf_assets import retry
from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.cli.in_process import execute
from r2_hf_assets.partitions import chunk_partitions, partition_key
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.reconcile.report import Report
from r2_hf_assets.retry import Retry
from r2_hf_assets.runs.progress import read_progress
from r2_hf_assets.runs.reconcile import examine
from r2_hf_assets.settings import load
from r2_hf_assets_tests.cli.calls import call
from r2_hf_assets_tests.support.world import World, materializations

SMALL = {"segments": (2, 3), "seconds": (0.3, 0.4)}
KEY = "en|chunk_0000"


@pytest.fixture
def done(in_process: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A chunk of several parts and a chunk of one, both on the Hub; no build record is left."""
    world = in_process
    world.upload(episodes={"en": 4}, **SMALL)
    monkeypatch.setenv("PARQUET_MAX_BYTES", "20000")
    monkeypatch.setenv("PARQUET_ROWGROUP_BYTES", "8000")
    assert world.scan() is None
    assert [run.error for run in world.build_due()] == [None, None]
    shutil.rmtree(world.folder / "dagster_home" / "r2_hf_assets" / "state" / "builds")
    assert len([path for path in world.files() if "chunk-00000-part-" in path]) > 2
    return world


def reconcile(*, mark_lost: bool = False) -> Report:
    with DagsterInstance.get() as instance:
        return examine(instance, load(), mark_lost=mark_lost)


def grid(world: World) -> dict[str, AssetPartitionStatus | None]:
    """Return the status of hub_commit's partitions, as the UI shows it."""
    with DagsterInstance.get() as instance:
        return dict(instance.get_status_by_partition(COMMIT, [KEY, "en|chunk_0001"], chunk_partitions) or {})


def test_a_deleted_part_makes_its_chunk_due_again(done: World, capfd: pytest.CaptureFixture[str]) -> None:
    before = done.row_keys()
    last = [path for path in done.files() if "chunk-00000" in path][-1]
    done.api().delete_file(last, done.repo_id, repo_type="dataset")

    dry_run = call(capfd, "reconcile", "--dry-run")
    assert any(line.startswith(f"recorded_absent: {KEY}: 1 of ") and last in line for line in dry_run.stdout)
    assert done.due() == [], "a dry run records nothing"

    reconciled = call(capfd, "reconcile")
    assert f"due again; r2-hf process builds them: {KEY}" in reconciled.stderr
    assert done.due() == [KEY]
    with DagsterInstance.get() as instance:
        settings = load()
        planned = open_plan(settings.plan, settings.r2).planned()
        (row,) = read_progress(instance, planned, settings.plan.languages, settings.dataset).languages
    assert (row.planned, row.committed, row.due, row.failed) == (2, 1, 1, 1)
    assert grid(done) == {KEY: AssetPartitionStatus.FAILED, "en|chunk_0001": AssetPartitionStatus.MATERIALIZED}
    assert reconcile(mark_lost=True).lost == [], "it is reported once"

    since = len(done.commits())
    assert [run.error for run in done.build_due()] == [None]
    assert (done.due(), done.row_keys(), len(done.commits())) == ([], before, since + 1)
    assert grid(done)[KEY] is AssetPartitionStatus.MATERIALIZED
    assert reconcile().differences == []


def test_a_lost_chunk_stays_due_when_its_rebuild_fails(
    done: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done.api().delete_file("data/en/chunk-00001.parquet", done.repo_id, repo_type="dataset")
    call(capfd, "reconcile")
    keys = ["en|chunk_0001"]
    with monkeypatch.context() as patch:
        patch.setenv("HF_TOKEN", "hf_wrong")
        failed = call(capfd, "process", *(word for key in keys for word in ("--partition", key)))
        assert failed.code == 1
    assert done.due() == keys
    assert call(capfd, "process").code == 0
    assert done.due() == []


def test_a_replaced_part_differs_from_its_recorded_commit(done: World) -> None:
    path = done.files()[1]
    done.api().upload_file(path_or_fileobj=b"PAR1 other", path_in_repo=path, repo_id=done.repo_id, repo_type="dataset")
    (difference,) = reconcile(mark_lost=True).differences
    assert difference.kind == "other_content" and path in difference.detail
    (run,) = done.build_due()
    assert run.error is not None and run.error.startswith(f"{path} on the Hub is a file that neither"), "not ours"
    done.api().delete_file(path, done.repo_id, repo_type="dataset")
    assert [run.error for run in done.build_due()] == [None]
    assert reconcile().differences == []


def test_chunks_removed_by_a_force_push_are_due_again(done: World) -> None:
    before = done.row_keys()
    for path in done.files():
        done.api().delete_file(path, done.repo_id, repo_type="dataset")
    assert [due.name for due in reconcile(mark_lost=True).lost] == [("en", 0), ("en", 1)]
    assert len(done.due()) == 2
    assert [run.error for run in done.build_due()] == [None, None]
    assert done.row_keys() == before


def test_a_missing_repo_makes_nothing_due_without_record(done: World, capfd: pytest.CaptureFixture[str]) -> None:
    done.api().delete_repo(done.repo_id, repo_type="dataset")
    report = reconcile(mark_lost=True)
    assert (report.revision, len(report.lost)) == (None, 2)
    talk = call(capfd, "reconcile").stderr
    assert talk[-1].startswith(f"there is no {done.repo_id} on the Hub, or no access to it; if it is gone, ")
    assert not any("it is due again" in line for line in talk)
    assert done.due() == []
    assert call(capfd, "reconcile", "--record").stderr[-1].startswith("due again; r2-hf process builds them: ")
    assert len(done.due()) == 2
    assert [run.error for run in done.build_due()] == [None, None]


def test_a_build_whose_commit_failed_is_not_repeated(in_process: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world = in_process
    summary = world.upload(episodes={"en": 3}, **SMALL)
    assert world.scan() is None
    with monkeypatch.context() as patch:
        patch.setattr(retry, "COMMIT_RETRY", Retry(attempts=1))
        world.sandbox.hub.inject(
            {"method": "POST", "path_regex": f"{world.repo_id}/commit/", "status": 500, "times": 9}
        )
        assert [run.error is None for run in world.build_due()] == [False]
    world.sandbox.hub.clear_faults()
    # The bucket is emptied, so another build would find no row.
    for row in summary.rows:
        world.sandbox.s3.client().delete_object(Bucket=world.bucket, Key=row.key)
    assert [run.error for run in world.build_due()] == [None]
    assert world.row_keys() == sorted(row.key for row in summary.rows)
    first, second = (materializations(world, "parquet_shards", KEY)[index] for index in (1, 0))
    same = ("dagster/row_count", "files", "rejects_by_reason", "hours", "pictures")
    assert {name: first[name] for name in same} == {name: second[name] for name in same}
    with DagsterInstance.get() as instance:
        evaluations = [
            record.dagster_event.asset_check_evaluation_data
            for run in instance.get_runs(limit=1)
            for record in instance.all_logs(run.run_id)
            if record.dagster_event and record.dagster_event.event_type_value == "ASSET_CHECK_EVALUATION"
        ]
    checks = {evaluation.check_name for evaluation in evaluations}
    assert checks == {"ledger", "audio", "ranges", "texts", "duplicates", "on_hub"}


@pytest.mark.parametrize("over", ["Xet", "LFS"])
def test_a_chunk_is_built_again_when_the_hub_lost_its_content_before_the_commit(
    in_process: World, monkeypatch: pytest.MonkeyPatch, over: str
) -> None:
    """The Hub may delete uncommitted content, while hf_xet's cache on this machine still has it as uploaded."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", over == "LFS")
    monkeypatch.setenv("HF_HOME", str(in_process.folder / "hf_home"))
    world = in_process
    summary = world.upload(episodes={"en": 4}, seed={"Xet": 8113, "LFS": 8114}[over], **SMALL)
    assert world.scan() is None
    hub = world.sandbox.hub.folder
    with DagsterInstance.get() as instance:
        assert execute(instance, [SHARDS], partition_key("en", 1)).success
        before = {*(hub / "xet" / "xorbs").rglob("*")}
        assert execute(instance, [SHARDS], partition_key("en", 0)).success
    file, _ = materializations(world, "parquet_shards", KEY)[0]["files"]
    stored = {*(hub / "xet" / "xorbs").rglob("*")} - before
    gone = stored if over == "Xet" else {hub / "lfs" / file["sha256"][:2] / file["sha256"]}
    for path in gone:
        if path.is_file():
            path.unlink()
    lost, intact = world.build_due()
    assert intact.error is None
    assert lost.error is not None and lost.error.startswith("the Hub refuses the commit of en chunk-00000: ")
    assert lost.error.endswith("run again to rebuild it") and "\n" not in lost.error
    assert world.due() == [KEY]
    assert [run.error for run in world.build_due()] == [None]
    assert world.row_keys() == sorted(row.key for row in summary.rows)
    assert (len(world.commits()), world.due()) == (2, [])


def test_a_committed_chunk_is_built_again_on_request(in_process: World) -> None:
    world = in_process
    summary = world.upload(episodes={"en": 3}, **SMALL)
    assert world.scan() is None
    assert [run.error for run in world.build_due()] == [None]
    gone = summary.rows[0].key
    world.sandbox.s3.client().delete_object(Bucket=world.bucket, Key=gone)
    assert world.build(KEY) is None
    assert gone not in world.row_keys()
