"""Ctrl-C of `r2-hf process` in a terminal: one line, a canceled run, and a chunk that is due at once."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from dagster import DagsterExecutionInterruptedError, DagsterInstance, DagsterRunStatus, RunsFilter

from r2_hf_assets.assets import hub_commit
from r2_hf_assets.cli.in_process import due_chunks, run_chunks
from r2_hf_assets.partitions import GRID_FILE
from r2_hf_assets.runs.outcome import INTERRUPTED_TAG
from r2_hf_assets_tests.cli.calls import call, start
from r2_hf_assets_tests.support.terminal import Terminal
from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox.processes import wait_until
from r2_hf_sandbox.s3.faults import S3Fault, S3Faults

KEY = "en|chunk_0000"
AUDIO = r"_000001\.mp3"
PATIENCE_S = 90.0


@pytest.fixture
def planned(shell: World) -> World:
    shell.upload(episodes={"en": 2, "de": 1}, awkward=False, expect=False, segments=(2, 3), seconds=(0.3, 0.4))
    assert shell.scan() is None
    return shell


def run_of(key: str) -> tuple[DagsterRunStatus, bool]:
    """Return the status of the partition's only run, and whether its tag says that it was interrupted."""
    with DagsterInstance.get() as instance:
        (run,) = instance.get_runs(RunsFilter(tags={"dagster/partition": key}))
    return run.status, run.tags.get(INTERRUPTED_TAG) == run.run_id


def test_ctrl_c_is_one_line_and_cancels_the_run(planned: World, capfd: pytest.CaptureFixture[str]) -> None:
    with S3Faults(planned.sandbox.s3.endpoint_url) as proxy:
        proxy.inject(S3Fault(AUDIO, "delay", delay_s=300.0, times=100))
        planned.write_dotenv(R2_ENDPOINT_URL=proxy.endpoint_url)
        env = planned.command_env()
        del env["DAGSTER_MODULE_NAME"]
        with Terminal(planned.folder, env) as terminal:
            terminal.start("r2-hf process --language en")
            assert wait_until(lambda: proxy.count(AUDIO) > 0, PATIENCE_S)
            _, *lines = terminal.interrupt()
            assert terminal.run("echo $?", PATIENCE_S) == ["130"], lines
    written = [line for line in lines if line and "episodes/s" not in line and "^C" not in line]
    assert written == ["r2-hf: stopped; what is recorded is done, the rest is due"]
    assert run_of(KEY) == (DagsterRunStatus.CANCELED, True)
    *_, total = call(capfd, "status").stdout
    assert total.split()[:7] == ["total", "2", "3", "0", "0", "0", "2"], "none failed, two are due"


def test_an_interrupt_between_two_steps_cancels_the_run_too(planned: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """There Dagster records a failure."""

    @contextmanager
    def interrupted(context: object) -> Iterator[None]:
        raise DagsterExecutionInterruptedError
        yield

    monkeypatch.setattr(hub_commit, "report_user_errors", interrupted)
    with DagsterInstance.get() as instance, pytest.raises(KeyboardInterrupt):
        list(run_chunks(instance, due_chunks(instance)[:1]))
    assert run_of("de|chunk_0000") == (DagsterRunStatus.CANCELED, True)


def test_chunks_of_a_language_that_the_loaded_grid_lacks_are_built(
    planned: World, capfd: pytest.CaptureFixture[str]
) -> None:
    """As on a machine whose last scan was before another machine planned that language."""
    grid = planned.folder / "dagster_home" / "r2_hf_assets" / GRID_FILE
    assert grid.read_text() == "de,en"
    grid.write_text("de")
    planned.write_dotenv()
    process = start(planned, "process", "--no-card")
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    assert grid.read_text() == "de,en"
    assert planned.files() == ["data/de/chunk-00000.parquet", "data/en/chunk-00000.parquet"]
    assert call(capfd, "status").stdout[-1].split()[:7] == ["total", "2", "3", "2", "2", "0", "0"]
