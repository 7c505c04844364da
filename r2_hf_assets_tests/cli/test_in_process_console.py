"""The console of a run in this process: one line a warning, and no traceback."""

import pytest
from dagster import DagsterInstance, OpExecutionContext, job, op

from r2_hf_assets.cli.in_process import console_logger, redirect_console

CONSOLE = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}


@op
def warns(context: OpExecutionContext) -> int:
    context.log.info("an info")
    context.log.warning("first")
    context.log.warning("en|c: second")
    raise ValueError("it failed")


@op
def follower(number: int) -> None:
    """A skipped step, which Dagster logs."""


@job(logger_defs={"console": console_logger})
def work() -> None:
    follower(warns())


def test_warnings_are_lines_and_a_failure_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    with DagsterInstance.ephemeral() as instance:
        with redirect_console(lines.append):
            work.execute_in_process(
                CONSOLE, instance=instance, raise_on_error=False, tags={"dagster/partition": "en|c"}
            )
        assert lines == ["en|c: first", "en|c: second"]
        capfd.readouterr()
        work.execute_in_process(CONSOLE, instance=instance, raise_on_error=False)
    assert capfd.readouterr() == ("", "warns: first\nwarns: en|c: second\n")
    assert len(lines) == 2
