"""The checks on the assets: results by partition, and a failed check that prevents the commit."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from dagster import AssetCheckKey, AssetKey, DagsterInstance
from dagster._core.event_api import PartitionKeyFilter

from r2_hf_assets.asset_keys import COMMIT, SHARDS, WORK_PLAN
from r2_hf_assets.assets import hub_commit as commit_module
from r2_hf_assets.bucket.response import GetResult
from r2_hf_assets.checks import BUILD_CHECKS
from r2_hf_assets.cli.in_process import execute
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import CommitRecord, commit_chunk
from r2_hf_assets.partitions import partition_key
from r2_hf_assets.shards.source import Item, Source
from r2_hf_assets_tests.support.world import World, materializations

PLAN = AssetCheckKey(WORK_PLAN, "plan")
LEDGER = AssetCheckKey(SHARDS, "ledger")
ON_HUB = AssetCheckKey(COMMIT, "on_hub")
QUALITY_KEYS = [spec.key for spec in BUILD_CHECKS[1:]]


def results(check: AssetCheckKey, partition: str | None = None) -> list[tuple[str, Any]]:
    """Return (status, evaluation) of a check for a partition, newest first."""
    with DagsterInstance.get() as instance:
        records = instance.event_log_storage.get_asset_check_execution_history(
            check, limit=100, partition_filter=PartitionKeyFilter(key=partition)
        )
    evaluations = []
    for record in records:
        event = record.event.dagster_event if record.event else None
        evaluated = event is not None and event.event_type_value == "ASSET_CHECK_EVALUATION"
        evaluations.append((record.status.value, event.asset_check_evaluation_data if event and evaluated else None))
    return evaluations


def run(*assets: AssetKey, number: int = 0, language: str = "en") -> bool:
    with DagsterInstance.get() as instance:
        return execute(instance, list(assets), partition_key(language, number)).success


def number(evaluation: Any, name: str) -> Any:
    return evaluation.metadata[name].value


@pytest.fixture
def planned(in_process: World) -> World:
    in_process.upload(episodes={"en": 4}, awkward=False, expect=False)
    in_process.scan()
    return in_process


@pytest.fixture
def loses_a_row() -> Iterator[pytest.MonkeyPatch]:
    """Drop the second entry of each chunk; until `undo`."""
    real = Source.audio

    def lossy(source: Source, items: Iterable[Item], workers: int) -> Generator[tuple[Item, GetResult], None, None]:
        with closing(real(source, items, workers)) as audio:
            yield from (pair for number, pair in enumerate(audio) if number != 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Source, "audio", lossy)
        yield patch


def test_all_checks_pass_and_are_recorded_by_partition(planned: World) -> None:
    assert [run.error for run in planned.build_due()] == [None, None]
    for check in (LEDGER, ON_HUB):
        assert results(check) == []
        for key in ("en|chunk_0000", "en|chunk_0001"):
            ((status, evaluation),) = results(check, key)
            assert (status, evaluation.passed, evaluation.partition) == ("SUCCEEDED", True, key)
            assert evaluation.blocking and evaluation.severity.value == "ERROR"
    ((status, plan),) = results(PLAN)
    assert (status, plan.passed, number(plan, "episodes")) == ("SUCCEEDED", True, 4)
    for check in QUALITY_KEYS:
        for key in ("en|chunk_0000", "en|chunk_0001"):
            ((status, evaluation),) = results(check, key)
            assert (status, evaluation.partition, evaluation.blocking) == ("SUCCEEDED", key, False)
    audio = results(AssetCheckKey(SHARDS, "audio"), "en|chunk_0000")[0][1]
    assert number(audio, "decoded") == number(audio, "sampled") >= 4
    assert number(audio, "largest_difference_s") < 0.1
    ledger, on_hub = (results(check, "en|chunk_0000")[0][1] for check in (LEDGER, ON_HUB))
    shards = materializations(planned, "parquet_shards", "en|chunk_0000")[0]
    assert number(ledger, "rows") == shards["dagster/row_count"]
    assert number(ledger, "episodes_planned") == shards["episodes"] == 3
    assert number(on_hub, "files_on_hub") == len(shards["files"]) == 2
    assert number(on_hub, "bytes_on_hub") == sum(file["bytes"] for file in shards["files"])
    assert shards["files"][0]["bytes"] == shards["bytes"]


def test_a_lost_row_fails_its_partition_and_commits_nothing(planned: World, loses_a_row: pytest.MonkeyPatch) -> None:
    first, _ = planned.build_due()
    assert first.error is not None
    assert first.error.startswith("the ledger check failed: ")
    assert "1 x segment_lost (en/" in first.error
    ((status, ledger),) = results(LEDGER, "en|chunk_0000")
    assert (status, ledger.passed, ledger.partition) == ("FAILED", False, "en|chunk_0000")
    assert number(ledger, "problems_by_kind")["segment_lost"] == 1
    assert [status for status, _ in results(ON_HUB, "en|chunk_0000")] in ([], ["PLANNED"])
    assert materializations(planned, "parquet_shards") == []
    assert materializations(planned, "hub_commit") == []
    assert planned.due() == ["en|chunk_0000", "en|chunk_0001"]
    assert _recorded(planned) == {}
    # Without a build record hub_commit fails too.
    assert not run(COMMIT)
    assert planned.files() == []
    loses_a_row.undo()
    assert [run.error for run in planned.build_due()] == [None, None]
    assert [status for status, _ in results(LEDGER, "en|chunk_0000")] == ["SUCCEEDED", "FAILED"]
    assert results(ON_HUB, "en|chunk_0000")[0][0] == "SUCCEEDED"


def test_a_failed_rebuild_keeps_the_earlier_build(planned: World, loses_a_row: pytest.MonkeyPatch) -> None:
    lossy = Source.audio
    loses_a_row.undo()
    assert run(SHARDS, COMMIT)
    built, head = _recorded(planned), planned.head()
    loses_a_row.setattr(Source, "audio", lossy)
    assert not run(SHARDS)
    assert _recorded(planned) == built
    assert run(COMMIT)
    assert planned.head() == head
    assert materializations(planned, "hub_commit")[0]["dagster/row_count"] == planned.table().num_rows


def _recorded(world: World) -> dict[str, bytes]:
    """Return the build records by name."""
    builds = world.folder / "dagster_home" / "r2_hf_assets" / "state" / "builds"
    return {path.name: path.read_bytes() for path in builds.rglob("*") if path.is_file()}


def test_a_failed_check_stops_the_command_line(planned: World) -> None:
    planned.write_dotenv()
    # The command runs in its own process, so the fault is in the definitions that it imports.
    fault = planned.folder / "faulty.py"
    fault.write_text(
        "from dataclasses import replace\n"
        "from r2_hf_assets.shards import build as module\n"
        "real = module.check_ledger\n"
        "def check(audit, record, index):\n"
        "    tally = replace(record.tally, entries=record.tally.entries + 1)\n"
        "    return real(audit, replace(record, tally=tally), index)\n"
        "module.check_ledger = check\n"
        "from r2_hf_assets.definitions import defs\n"
    )
    arguments = ["asset", "materialize", "-f", str(fault), "--select", "parquet_shards,hub_commit"]
    completed = planned.dagster(*arguments, "--partition", "en|chunk_0000", DAGSTER_MODULE_NAME="")
    assert completed.returncode != 0
    assert "the ledger check failed" in completed.stderr
    assert results(LEDGER, "en|chunk_0000")[0][0] == "FAILED"
    assert materializations(planned, "hub_commit") == []
    assert planned.files() == []


def test_an_unplanned_partition_passes(planned: World) -> None:
    assert run(SHARDS, COMMIT, language="de")
    for check in (LEDGER, ON_HUB, *QUALITY_KEYS):
        ((status, evaluation),) = results(check, "de|chunk_0000")
        assert (status, evaluation.description) == ("SUCCEEDED", "nothing planned")


def test_a_commit_without_the_files_is_not_recorded(planned: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def commit_and_return_parent(repo: HubClient, *arguments: Any, **options: Any) -> CommitRecord:
        before = repo.head()
        assert before is not None
        return replace(commit_chunk(repo, *arguments, **options), oid=before)

    monkeypatch.setattr(commit_module, "commit_chunk", commit_and_return_parent)
    assert not run(SHARDS, COMMIT)
    ((status, on_hub),) = results(ON_HUB, "en|chunk_0000")
    assert (status, number(on_hub, "problems_by_kind")) == ("FAILED", {"absent": 2})
    assert materializations(planned, "hub_commit") == []
    assert planned.due() == ["en|chunk_0000", "en|chunk_0001"]
    # The build record is kept, so no build is needed.
    assert "chunk-00000.json" in _recorded(planned)
    monkeypatch.setattr(commit_module, "commit_chunk", commit_chunk)
    assert run(COMMIT)
    assert results(ON_HUB, "en|chunk_0000")[0][0] == "SUCCEEDED"
    assert len(planned.commits()) == 1


def test_unknown_folders_warn_and_a_damaged_plan_fails(in_process: World) -> None:
    world = in_process
    world.upload(episodes={"en": 4, "junk": 2}, expect=False)
    assert world.scan() is None
    status, plan = results(PLAN)[0]
    assert (status, plan.passed, plan.severity.value) == ("FAILED", False, "WARN")
    assert number(plan, "episodes_by_unknown_folder") == {"junk": 2}
    assert number(plan, "languages_that_fit") == "LANGUAGES=en,unknown"
    state = world.folder / "dagster_home" / "r2_hf_assets" / "state"
    (state / "plan" / "unknown" / "chunk_0000.json").write_bytes(b"{")
    assert world.scan(languages=["en"]) is None
    status, plan = results(PLAN)[0]
    assert (status, plan.passed, plan.severity.value) == ("FAILED", False, "ERROR")
    assert "plan/unknown/chunk_0000.json" in plan.description


def test_the_plan_check_can_run_alone(planned: World) -> None:
    from r2_hf_assets.definitions import defs

    job = defs.resolve_implicit_job_def_def_for_assets([WORK_PLAN])
    assert job is not None
    subset = job.get_subset(asset_selection=set(), asset_check_selection={PLAN})
    with DagsterInstance.get() as instance:
        assert subset.execute_in_process(instance=instance).success
    assert len(results(PLAN)) == 2
    assert len(materializations(planned, "work_plan")) == 1
