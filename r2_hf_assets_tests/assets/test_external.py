"""whole_dataset: passes if plan, history and Hub agree and no audio is repeated; runs only by its job."""

import json
import subprocess
from typing import Any

import pytest
from dagster import AssetCheckEvaluation, AssetCheckSeverity, DagsterInstance

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.cli.in_process import execute
from r2_hf_assets.definitions import defs
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.reads import Inventory, take_inventory
from r2_hf_assets.partitions import partition_key
from r2_hf_assets.reconcile.report import Difference, Kind, Report, check_report
from r2_hf_assets.reconcile.whole import AllRows, look_at_rows
from r2_hf_assets.settings import load
from r2_hf_assets.verdict import Severity
from r2_hf_assets_tests.support.world import BIN, World

OF_ROWS = (Kind.ROWS_NOT_PLANNED, Kind.UNREADABLE_INDEX)


@pytest.mark.parametrize(
    ("kinds", "passed", "severity"),
    [
        ((), True, Severity.WARN),
        ((Kind.UNRECORDED, Kind.OTHER_DIGEST, Kind.UNVERIFIABLE), False, Severity.WARN),
        ((Kind.UNRECORDED, Kind.ABSENT), False, Severity.ERROR),
        *(
            ((kind,), False, Severity.ERROR)
            for kind in (Kind.OTHER_CONTENT, Kind.STALE, Kind.NOT_PLANNED, Kind.UNKNOWN, *OF_ROWS)
        ),
    ],
)
def test_severities(kinds: tuple[Kind, ...], passed: bool, severity: Severity) -> None:
    differences = [Difference(kind, ("en", 0), "x") for kind in kinds]
    verdict = check_report(Report("abc", planned=3, recorded=2, differences=differences), "a summary", [])
    assert (verdict.passed, verdict.severity, verdict.summary) == (passed, severity, "a summary")
    assert verdict.numbers["differences"] == len(kinds)
    assert set(verdict.numbers["what_to_do"]) == set(kinds)


def check(instance: DagsterInstance) -> AssetCheckEvaluation:
    result = defs.resolve_job_def("check_job").execute_in_process(instance=instance)
    assert result.success, "a failed check does not block"
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.asset_check_key.to_user_string() == "dataset:whole_dataset"
    return evaluation


def numbers(evaluation: AssetCheckEvaluation) -> dict[str, Any]:
    return {name: value.value for name, value in evaluation.metadata.items()}


def copy_episode(world: World, episode: str, to: str) -> None:
    """Copy an episode of the bucket under another folder and id."""
    store, name, other = world.store(), episode.split("/")[1], to.split("/")[1]
    for path in [one["path"] for batch in store.list(f"processed/{episode}/") for one in batch]:
        store.put(f"processed/{to}/{path.rsplit('/', 1)[-1].replace(name, other)}", world.object(path))


@pytest.fixture
def copied(in_process: World) -> World:
    """Two episodes of `en`, committed; one is also in `de` with the same id, the other in `fr` with another."""
    world = in_process
    rows = world.upload(episodes={"en": 2}, segments=(2, 2), seconds=(0.3, 0.4)).rows
    first, second = sorted({row.episode for row in rows})
    copy_episode(world, f"en/{first}", f"de/{first}")
    copy_episode(world, f"en/{second}", "fr/copy")
    assert world.scan() is None
    assert {run.error for run in world.build_due()} == {None}
    return world


def test_repeated_audio_warns(copied: World) -> None:
    keys = [key for key in copied.row_keys() if "/en/" in key]
    first, second = keys[0].split("/")[2], keys[-1].split("/")[2]
    with DagsterInstance.get() as instance:
        found = check(instance)
    assert (found.passed, found.severity) == (False, AssetCheckSeverity.WARN)
    values = numbers(found)
    size = sum(len(copied.object(key)) for key in keys)
    redundant = {"groups": 4, "across_chunks": 4, "redundant_rows": 4, "redundant_bytes": size}
    assert values["equal_audio_across_episodes"] == redundant
    assert (values["differences"], values["rows_not_planned"]) == (0, 0)
    assert (values["indexes"], values["rows"], values["rejects"], values["chunks_without_index"]) == (3, 8, 0, 0)
    assert values["episodes_in_two_languages"] == 2
    pairs = [f"de/{first} in de = en/{first} in en", f"en/{second} in en = fr/copy in fr"]
    repeats = [f"{what}: {pair}" for what in ("equal_audio", "episodes_in_two_languages") for pair in pairs]
    assert values["first_repeats"] == repeats

    command = [str(BIN / "r2-hf"), "reconcile", "--rows", "--json"]
    env = copied.command_env(**copied.env)
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=copied.folder, check=True)
    rows = json.loads(done.stdout)["rows"]
    assert rows == {name: values[name] for name in rows}
    about_rows, about_files = done.stderr.splitlines()
    repeated = f"4 rows repeat audio of another episode ({size:,} bytes); episodes in two languages: 2"
    assert about_rows == f"8 rows in 3 indexes; chunks without one: 0; {repeated}"
    assert about_files.startswith("3 chunks planned")


def test_rows_without_a_plan_and_unreadable_indexes_are_errors(copied: World) -> None:
    api, where = copied.api(), {"repo_id": copied.repo_id, "repo_type": "dataset"}
    with copied.dataset_folder() as folder:
        index = (folder / "metadata/en/chunk-00000.parquet").read_bytes()
    first = sorted(key for key in copied.row_keys() if "/en/" in key)[0].split("/")[2]
    contents = {"de/chunk-00000": b"no Parquet", "en/chunk-00009": index, "fr/chunk-00000": index}
    for name, content in contents.items():
        api.upload_file(path_or_fileobj=content, path_in_repo=f"metadata/{name}.parquet", **where)
    with DagsterInstance.get() as instance:
        found = check(instance)
    assert (found.passed, found.severity) == (False, AssetCheckSeverity.ERROR)
    values = numbers(found)
    assert values["rows_not_planned"] == 8
    lines = values["first_differences"]
    assert [line for line in lines if line.startswith("rows_not_planned")] == [
        "rows_not_planned: en|chunk_0009: 4 rows, and the plan has no such chunk",
        f"rows_not_planned: fr|chunk_0000: 4 rows of 2 episodes that its manifest lacks, the first is en/{first}",
    ]
    (unreadable,) = [line for line in lines if line.startswith("unreadable_index")]
    assert unreadable.startswith("unreadable_index: de|chunk_0000: metadata/de/chunk-00000.parquet is not a valid")
    assert values["episodes_in_two_languages"] == 2


def test_chunks_without_an_index_are_counted(copied: World) -> None:
    whole = take_inventory(HubClient(load().hub))
    older = {path: file for path, file in whole.files.items() if path != "metadata/en/chunk-00000.parquet"}
    rows = look_at_rows(load(), Inventory(whole.revision, older))
    assert rows == AllRows(indexes=2, without_index=1, rows=4)
    assert look_at_rows(load(), Inventory(None)) == AllRows()


def test_a_missing_and_an_unknown_file_fail_the_check(in_process: World) -> None:
    world = in_process
    world.upload(episodes={"en": 4}, expect=False, segments=(2, 2), seconds=(0.3, 0.4))
    assert world.scan() is None
    assert {run.error for run in world.build_due()} == {None}
    api, where = world.api(), {"repo_id": world.repo_id, "repo_type": "dataset"}
    with DagsterInstance.get() as instance:
        before = check(instance)
        assert before.passed and numbers(before)["as_built"] == 2
        assert before.description is not None and "; no difference; 8 rows in 2 indexes" in before.description

        api.delete_file("data/en/chunk-00000.parquet", **where)
        api.upload_file(path_or_fileobj=b"other", path_in_repo="data/en/chunk-00099.parquet", **where)
        after = check(instance)
        assert not after.passed and after.severity is AssetCheckSeverity.ERROR
        assert numbers(after)["differences_by_kind"] == {"recorded_absent": 1, "unknown_file": 1}
        assert numbers(after)["first_differences"][0].startswith("recorded_absent: en|chunk_0000")

        api.delete_file("data/en/chunk-00099.parquet", **where)
        rebuilt = execute(instance, [SHARDS, COMMIT], partition_key("en", 0))
        assert "whole_dataset" not in {result.asset_check_key.name for result in rebuilt.get_asset_check_evaluations()}
        assert check(instance).passed
