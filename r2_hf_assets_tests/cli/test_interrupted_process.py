"""Ctrl-C of `r2-hf process` in a terminal: one line, a canceled run, and a chunk that is due at once."""

import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest
from dagster import DagsterExecutionInterruptedError, DagsterInstance, DagsterRunStatus, RunsFilter

from r2_hf_assets.assets import hub_commit
from r2_hf_assets.cli.in_process import due_chunks, run_chunks
from r2_hf_assets.partitions import GRID_FILE
from r2_hf_assets.runs.outcome import INTERRUPTED_TAG
from r2_hf_assets_tests.cli.calls import call, start
from r2_hf_assets_tests.support.world import BIN, World
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


@contextmanager
def in_terminal(world: World, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], bytearray]]:
    """`r2-hf ARGUMENTS` on a terminal of its own, and what it writes there; killed at the end."""
    reader, writer = pty.openpty()
    env = world.command_env()
    del env["DAGSTER_MODULE_NAME"]
    process = subprocess.Popen(
        [str(BIN / "r2-hf"), *arguments],
        cwd=world.folder,
        env=env,
        stdin=writer,
        stdout=writer,
        stderr=writer,
        start_new_session=True,
    )
    os.close(writer)
    output = bytearray()

    def read() -> None:
        with suppress(OSError):  # every writer has closed it
            while part := os.read(reader, 4096):
                output.extend(part)

    thread = Thread(target=read)
    thread.start()
    try:
        yield process, output
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        thread.join()
        os.close(reader)


def run_of(key: str) -> tuple[DagsterRunStatus, bool]:
    """Return the status of the partition's only run, and whether its tag says that it was interrupted."""
    with DagsterInstance.get() as instance:
        (run,) = instance.get_runs(RunsFilter(tags={"dagster/partition": key}))
    return run.status, run.tags.get(INTERRUPTED_TAG) == run.run_id


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_is_one_line_and_cancels_the_run(
    planned: World, capfd: pytest.CaptureFixture[str], sent: signal.Signals, code: int
) -> None:
    with S3Faults(planned.sandbox.s3.endpoint_url) as proxy:
        proxy.inject(S3Fault(AUDIO, "delay", delay_s=300.0, times=100))
        planned.write_dotenv(R2_ENDPOINT_URL=proxy.endpoint_url)
        with in_terminal(planned, "process", "--language", "en") as (process, output):
            assert wait_until(lambda: proxy.count(AUDIO) > 0, PATIENCE_S), output
            os.killpg(process.pid, sent)  # what a terminal does: the command and all its processes
            assert process.wait(PATIENCE_S) == code, output
    lines = [line for line in output.decode().replace("\r", "\n").splitlines() if "episodes/s" not in line]
    assert [line.strip() for line in lines if line.strip()] == [
        "r2-hf: stopped; what is recorded is done, the rest is due"
    ]
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
