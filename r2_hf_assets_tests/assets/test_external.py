"""whole_dataset: passes if plan, history and Hub agree, else fails with numbers; runs only by its job."""

from typing import Any

import pytest
from dagster import AssetCheckEvaluation, AssetCheckSeverity, DagsterInstance

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.cli.in_process import execute
from r2_hf_assets.definitions import defs
from r2_hf_assets.partitions import partition_key
from r2_hf_assets.reconcile.report import Difference, Kind, Report, check_report
from r2_hf_assets.verdict import Severity
from r2_hf_assets_tests.support.world import World


@pytest.mark.parametrize(
    ("kinds", "passed", "severity"),
    [
        ((), True, Severity.WARN),
        ((Kind.UNRECORDED, Kind.OTHER_DIGEST, Kind.UNVERIFIABLE), False, Severity.WARN),
        ((Kind.UNRECORDED, Kind.ABSENT), False, Severity.ERROR),
        *(
            ((kind,), False, Severity.ERROR)
            for kind in (Kind.OTHER_CONTENT, Kind.STALE, Kind.NOT_PLANNED, Kind.UNKNOWN)
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


def test_a_missing_and_an_unknown_file_fail_the_check(in_process: World) -> None:
    world = in_process
    world.upload(episodes={"en": 4}, expect=False, segments=(2, 2), seconds=(0.3, 0.4))
    assert world.scan() is None
    assert {run.error for run in world.build_due()} == {None}
    api, where = world.api(), {"repo_id": world.repo_id, "repo_type": "dataset"}
    with DagsterInstance.get() as instance:
        before = check(instance)
        assert before.passed and numbers(before)["as_built"] == 2
        assert before.description is not None and before.description.endswith("no difference")

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
