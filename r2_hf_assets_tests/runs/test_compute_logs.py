"""The output of a step is stored for the UI and not copied to the terminal, unless dagster.yaml says otherwise."""

import sys
from pathlib import Path

import pytest
from dagster import DagsterEventType, job, op
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager

from r2_hf_assets.runs.compute_logs import open_without_copies


@op
def speaks() -> None:
    print("to stdout")
    print("to stderr", file=sys.stderr)


@job
def work() -> None:
    speaks()


def test_a_step_writes_to_files_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with open_without_copies(tmp_path) as instance:
        run_id = work.execute_in_process(instance=instance).run_id
        (event,) = instance.all_logs(run_id, of_type=DagsterEventType.LOGS_CAPTURED)
        assert event.dagster_event is not None
        key = [run_id, "compute_logs", event.dagster_event.logs_captured_data.file_key]
        logs = instance.compute_log_manager.get_log_data(key)
        assert logs.stdout == b"to stdout\n" and b"\nto stderr\n" in (logs.stderr or b"")
        assert instance.compute_log_manager.is_capture_complete(key)
    out, err = capfd.readouterr()
    assert "to stdout" not in out and "to stderr" not in err


def test_a_manager_of_dagster_yaml_stays(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(
        "compute_logs: {module: dagster.core.storage.noop_compute_log_manager, class: NoOpComputeLogManager}\n"
    )
    with open_without_copies(tmp_path) as instance:
        assert isinstance(instance.compute_log_manager, NoOpComputeLogManager)
