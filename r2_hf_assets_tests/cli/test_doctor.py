"""`r2-hf doctor`, and what it finds in DAGSTER_HOME."""

import json
import sqlite3
from pathlib import Path

import pytest
from dagster import DagsterInstance

from r2_hf_assets.assets.doctor import judge_database, look_at_instance
from r2_hf_assets.doctor.finding import Level
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets_tests.cli.calls import call
from r2_hf_assets_tests.world import World


@pytest.fixture
def shell(in_process: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.chdir(in_process.folder)
    monkeypatch.delenv("DAGSTER_MODULE_NAME", raising=False)
    return in_process


def test_everything_is_looked_at_and_each_is_a_line(shell: World, capfd: pytest.CaptureFixture[str]) -> None:
    shell.upload(episodes={"en": 1}, awkward=False, expect=False)
    answer = call(capfd, "doctor")
    assert answer.code == 0, answer.data
    names = [line[6:20].strip() for line in answer.data]
    assert names == [
        *("settings", ".env", "versions", "open files", "HF_HOME", "DAGSTER_HOME", "dagster.yaml", "database"),
        *("LANGUAGES", "STATE_URL", "bucket", "episode", "clock (S3)", "plan"),
        *("hub", "token", "repo", "clock (Hub)"),
    ]
    assert [line for line in answer.data if line.startswith("FAIL")] == []
    assert answer.talk[-1].endswith("0 failed")


def test_what_fails_is_said_the_rest_is_looked_at_and_the_code_is_1(
    shell: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = {
        "DOWNLOAD_WORKERS": "many",
        "R2_SECRET_ACCESS_KEY": "a-wrong-secret",
        "HF_TOKEN": "hf_a-wrong-token",
        "KEEP_SHARDS": "1",
        "PARQUET_MAX_BYTES": str(10**14),
        "DAGSTER_HOME": "nowhere",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    answer = call(capfd, "doctor", "--json")
    assert answer.code == 1
    text = "\n".join(answer.data)
    found = json.loads(text)
    failed = [finding["name"] for finding in found["findings"] if finding["level"] == "FAIL"]
    assert failed == ["settings", "scratch", "DAGSTER_HOME", "bucket", "token", "repo"]
    assert found["failed"] == len(failed)
    secrets = ["a-wrong-secret", "hf_a-wrong-token", shell.env["R2_ACCESS_KEY_ID"]]
    assert [secret for secret in secrets if secret in text + "\n".join(answer.talk)] == []


def levels() -> dict[str, Level]:
    return {finding.name: finding.level for finding in look_at_instance(LANGUAGES)}


def test_a_home_without_its_yaml_retries_nothing(shell: World) -> None:
    assert levels()["dagster.yaml"] == Level.OK
    (Path(shell.env["DAGSTER_HOME"]) / "dagster.yaml").unlink()
    assert levels()["dagster.yaml"] == Level.WARN
    (Path(shell.env["DAGSTER_HOME"]) / "dagster.yaml").write_text("run_retries: [unclosed")
    assert levels() == {"dagster.yaml": Level.FAIL}


def test_a_database_that_two_processes_made(shell: World) -> None:
    assert levels()["database"] == Level.OK
    path = next(Path(shell.env["DAGSTER_HOME"]).rglob("runs.db"))
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO alembic_version VALUES ('29a8e9d74220')")
    database.close()
    assert levels() == {"database": Level.FAIL}


def test_a_schema_of_another_dagster() -> None:
    assert judge_database({"runs": ("a", "a"), "events": ("b", "b")}).level == Level.OK
    old = judge_database({"runs": ("a", "a"), "events": ("b", "c")})
    assert old.level == Level.WARN and old.seen.startswith("events")
    assert judge_database({"runs": "CommandError: two heads"}).level == Level.FAIL


def test_a_home_that_forgets(shell: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME")
    assert levels() == {"DAGSTER_HOME": Level.FAIL}
    with DagsterInstance.ephemeral() as instance:
        monkeypatch.setattr(DagsterInstance, "get", lambda: instance)
        monkeypatch.setenv("DAGSTER_HOME", shell.env["DAGSTER_HOME"])
        assert levels() == {"DAGSTER_HOME": Level.FAIL}
