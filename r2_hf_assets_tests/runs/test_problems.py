"""Problems of real runs: a scan that fails is one, and none while Dagster is to retry it."""

import pytest
from dagster import DagsterInstance
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG

from r2_hf_assets.definitions import defs
from r2_hf_assets.runs.outcome import error_line
from r2_hf_assets.runs.problems import Observation, observe_assets, observe_checks
from r2_hf_assets_tests.sensors.instigator import tick_error
from r2_hf_assets_tests.support.world import World


def observe(instance: DagsterInstance) -> Observation:
    seen = Observation()
    observe_assets(seen, instance)
    observe_checks(seen, instance, defs.get_repository_def().asset_graph.asset_check_keys)
    return seen


def scan(instance: DagsterInstance) -> str:
    """Run scan_job; return the run's id."""
    return defs.resolve_job_def("scan_job").execute_in_process(instance=instance, raise_on_error=False).run_id


def test_a_failed_scan_is_one_problem_until_a_scan_succeeds(in_process: World, monkeypatch: pytest.MonkeyPatch) -> None:
    in_process.upload(episodes={"en": 1}, expect=False, segments=(1, 1))
    with DagsterInstance.get() as instance:
        assert observe(instance) == Observation()
        with monkeypatch.context() as wrong:
            wrong.setenv("R2_SECRET_ACCESS_KEY", "wrong")
            failed = scan(instance)
        (problem,) = observe(instance).problems.values()
        assert (problem.key, problem.page) == ("work_plan", f"runs/{failed}")
        assert problem.text.startswith("work_plan failed: ") and "check R2_SECRET_ACCESS_KEY" in problem.text
        instance.add_run_tags(failed, {WILL_RETRY_TAG: "true"})
        seen = observe(instance)
        assert (seen.problems, seen.undecided) == ({}, {"work_plan", "check plan"})
        retry = scan(instance)
        assert observe(instance) == Observation()
        instance.add_run_tags(failed, {AUTO_RETRY_RUN_ID_TAG: retry})
        assert observe(instance) == Observation()


def test_a_check_that_could_not_be_evaluated_is_a_problem(in_process: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with DagsterInstance.get() as instance:
        job = defs.resolve_job_def("check_job")
        failed = job.execute_in_process(instance=instance, raise_on_error=False)
        assert not failed.success
        (problem,) = observe(instance).problems.values()
    assert (problem.key, problem.page) == ("check whole_dataset", f"runs/{failed.run_id}")
    assert problem.text.startswith("the check whole_dataset could not be evaluated: ") and "HF_TOKEN" in problem.text


def test_the_line_of_an_error_is_its_innermost_cause() -> None:
    assert error_line(tick_error("settings: not set: HF_TOKEN")) == "settings: not set: HF_TOKEN"
    assert error_line(tick_error("", "ValueError: first\nlast")) == "last"
    assert error_line(tick_error("", "KeyError: 'x'")) == "KeyError: 'x'"
