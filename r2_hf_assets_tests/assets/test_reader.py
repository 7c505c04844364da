"""The check `reader`: evaluated by card_job after the card, warns, and has no result if nothing can be read."""

from dagster import AssetCheckEvaluation, AssetCheckSeverity, DagsterInstance

from r2_hf_assets.definitions import defs
from r2_hf_assets_tests.support.world import World


def evaluate() -> AssetCheckEvaluation | None:
    with DagsterInstance.get() as instance:
        result = defs.resolve_job_def("card_job").execute_in_process(instance=instance)
    assert result.success, "the check does not block"
    evaluations = result.get_asset_check_evaluations()
    assert all(evaluation.asset_check_key.to_user_string() == "dataset:reader" for evaluation in evaluations)
    assert len(evaluations) <= 1
    return evaluations[0] if evaluations else None


def test_rows_of_a_committed_dataset_are_read_and_lost_files_are_a_warning(done: World) -> None:
    passed = evaluate()
    assert passed is not None and passed.passed, "the card was written before"
    assert passed.metadata["configs"].value == passed.metadata["read"].value == 3, "all, metadata, en"
    for path in done.files():
        done.api().delete_file(path, done.repo_id, repo_type="dataset")
    failed = evaluate()
    assert failed is not None and not failed.passed and failed.severity is AssetCheckSeverity.WARN
    line = failed.description or ""
    assert line.startswith("3 x not_loaded (all: DataFilesNotFoundError: ") and "-> run r2-hf reconcile" in line


def test_without_a_card_there_is_no_result(in_process: World) -> None:
    in_process.upload(episodes={"en": 1}, segments=(1, 1), seconds=(0.3, 0.4))
    assert in_process.scan() is None
    assert evaluate() is None
