"""The console of a run in this process: its warnings, a line each, and no trace of a failure."""

import pytest
from dagster import DagsterInstance, OpExecutionContext, job, op

from r2_hf_assets.cli.in_process import logging_to, plain_lines

CONSOLE = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}


@op
def careful(context: OpExecutionContext) -> int:
    context.log.info("nothing to mind")
    context.log.warning("mind this")
    context.log.warning("en|c: and this")
    raise ValueError("it failed")


@op
def follower(number: int) -> None:
    """Dagster logs that it does not execute it."""


@job(logger_defs={"console": plain_lines})
def work() -> None:
    follower(careful())


def test_warnings_are_lines_and_a_failure_is_none(capfd: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    with DagsterInstance.ephemeral() as instance:
        with logging_to(heard.append):
            work.execute_in_process(
                CONSOLE, instance=instance, raise_on_error=False, tags={"dagster/partition": "en|c"}
            )
        assert heard == ["en|c: mind this", "en|c: and this"]
        capfd.readouterr()
        work.execute_in_process(CONSOLE, instance=instance, raise_on_error=False)
    assert capfd.readouterr() == ("", "careful: mind this\ncareful: en|c: and this\n")
    assert len(heard) == 2
