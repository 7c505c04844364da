"""Which failed runs Dagster retries, and which failures are systemic."""

import pytest
from dagster import DagsterInstance
from dagster._core.events import RunFailureReason
from dagster._core.execution.retries import auto_reexecution_should_retry_run

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.assets import parquet_shards
from r2_hf_assets.cli.in_process import execute
from r2_hf_assets.errors import RetriesExhausted, SettingsError
from r2_hf_assets.partitions import partition_key
from r2_hf_assets.plan.dispatch import RunOutcome
from r2_hf_assets.resources import RESTART, SettingsResource
from r2_hf_assets.retry import RUN_ATTEMPTS
from r2_hf_assets.runs.outcome import describe_attempt, outcome_of
from r2_hf_assets_tests.support.world import World


@pytest.fixture
def planned(in_process: World) -> World:
    in_process.upload(episodes={"en": 1}, awkward=False, expect=False, segments=(2, 2), seconds=(0.3, 0.4))
    assert in_process.scan() is None
    return in_process


def is_retried(*, systemic: bool) -> bool:
    """Run the partition, which must fail; return whether Dagster retries the run."""
    with DagsterInstance.get() as instance:
        result = execute(instance, [SHARDS, COMMIT], partition_key("en", 0))
        assert not result.success
        run = instance.get_run_by_id(result.run_id)
        assert run is not None and instance.run_retries_enabled
        assert outcome_of(run) is (RunOutcome.SYSTEMIC_FAILURE if systemic else RunOutcome.FAILURE)
        return auto_reexecution_should_retry_run(instance, run, RunFailureReason.STEP_FAILURE)


def test_a_wrong_token_is_systemic_and_not_retried(planned: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert not is_retried(systemic=True)


def test_a_transient_error_is_retried(planned: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RetriesExhausted("GET x: 503 eight times")

    monkeypatch.setattr(parquet_shards, "build_on_hub", fail)
    assert is_retried(systemic=False)


def test_a_refusal_of_settings_in_a_run_says_what_reads_a_mended_env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPISODES_PER_CHUNK", "many")
    with pytest.raises(SettingsError, match="EPISODES_PER_CHUNK='many'") as refused:
        SettingsResource().load_for_scan()
    assert str(refused.value).endswith(f"; {RESTART}") and "\n" not in str(refused.value)


def test_a_failed_attempt_names_the_next() -> None:
    assert describe_attempt(1) == "attempt 1 of 5; the sensor planned_chunks requests the next in 2 minutes"
    assert describe_attempt(4) == "attempt 4 of 5; the sensor planned_chunks requests the next in 128 minutes"
    assert "attempt 5 of 5, the last one" in describe_attempt(RUN_ATTEMPTS)
