"""`r2-hf doctor`: its output and exit code, and that it changes nothing."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from r2_hf_assets.hub.reader import ADVICE
from r2_hf_assets.preflight import hub
from r2_hf_assets.verdict import Problems, Severity
from r2_hf_assets_tests.cli.calls import call, start
from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox.processes import wait_until


@pytest.fixture
def shell(in_process: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.chdir(in_process.folder)
    for name in ("DAGSTER_MODULE_NAME", "HF_HUB_DISABLE_XET"):
        monkeypatch.delenv(name, raising=False)
    return in_process


def test_every_finding_is_a_line(shell: World, capfd: pytest.CaptureFixture[str]) -> None:
    shell.upload(episodes={"en": 1}, awkward=False, expect=False)
    before = sorted(shell.folder.rglob("*"))
    result = call(capfd, "doctor")
    assert result.code == 0, result.stdout
    assert sorted(shell.folder.rglob("*")) == before, "nothing is created or removed"
    names = [line[6:20].strip() for line in result.stdout]
    assert names == [
        *("settings", "DAGSTER_HOME", "dagster.yaml", "database"),
        *("STATE_URL", "bucket", "episode", "hub", "token", "repo", "files", "commits"),
    ]
    assert [line for line in result.stdout if line.startswith("FAIL")] == []
    assert result.stderr[-1].endswith("0 failed")


def test_the_dataset_is_read_as_its_users_do(
    shell: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    result = call(capfd, "doctor", "--reader")
    assert "warn  reader        no row is read, because the card of" in result.stdout[-1]
    assert result.stdout[-1].endswith("names no configs yet -> r2-hf process")
    good, problems = "a row of each of 3 configs was streamed", Problems()
    monkeypatch.setattr(hub, "check_reader", lambda *_: problems.verdict(good, {}, Severity.WARN))
    assert call(capfd, "doctor", "--reader").stdout[-1] == f"ok    reader        {good}"
    problems.add("not_loaded", "en: it has no row")
    line = f"warn  reader        1 x not_loaded (en: it has no row) -> {ADVICE['not_loaded']}"
    assert call(capfd, "doctor", "--reader").stdout[-1] == line


def test_an_interrupt_ends_the_reader_and_removes_its_folder(
    shell: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shell.upload(episodes={"en": 1}, segments=(2, 2), seconds=(0.3, 0.4))
    assert shell.scan() is None and call(capfd, "process").code == 0
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    shell.write_dotenv(TMPDIR=str(temporary))
    with start(shell, "doctor", "--reader") as doctor:
        assert wait_until(lambda: bool(children(doctor.pid)) and any(temporary.iterdir()), 60.0)
        (reader,) = children(doctor.pid)
        doctor.send_signal(signal.SIGTERM)
        _, stderr = doctor.communicate(timeout=90)
    assert doctor.returncode == 128 + signal.SIGTERM and "Traceback" not in stderr
    assert not Path(f"/proc/{reader}").exists() and list(temporary.iterdir()) == []


def children(pid: int) -> list[str]:
    """Return the processes that its threads started."""
    return [child for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]


def test_a_failure_is_reported_the_rest_is_checked_and_the_exit_code_is_1(
    shell: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = {
        "R2_SECRET_ACCESS_KEY": "a-wrong-secret",
        "HF_TOKEN": "hf_a-wrong-token",
        "DAGSTER_HOME": "nowhere",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    result = call(capfd, "doctor", "--json")
    assert result.code == 1
    text = "\n".join(result.stdout)
    report = json.loads(text)
    failed = [finding["name"] for finding in report["findings"] if finding["level"] == "FAIL"]
    assert failed == ["DAGSTER_HOME", "bucket", "token", "repo"]
    assert report["failed"] == len(failed)
    secrets = ["a-wrong-secret", "hf_a-wrong-token", shell.env["R2_ACCESS_KEY_ID"]]
    assert [secret for secret in secrets if secret in text + "\n".join(result.stderr)] == []


def test_checks_that_need_missing_or_wrong_settings_are_skipped(
    shell: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(Path(shell.env["DAGSTER_HOME"]) / "history")
    for change, checked in (({"R2_BUCKET": ""}, {"hub", "token", "repo"}), ({"DOWNLOAD_WORKERS": "many"}, set())):
        with monkeypatch.context() as patch:
            for name, value in change.items():
                patch.setenv(name, value)
            result = call(capfd, "doctor", "--json")
        findings = {finding["name"]: finding for finding in json.loads("\n".join(result.stdout))["findings"]}
        assert result.code == 1 and findings["settings"]["level"] == "FAIL", change
        assert findings["database"]["level"] == "warn", "it is new"
        assert set(findings) & {"bucket", "STATE_URL", "hub", "token", "repo"} == checked
