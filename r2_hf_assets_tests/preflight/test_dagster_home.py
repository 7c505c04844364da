"""The findings about a real DAGSTER_HOME, in which nothing is created."""

import sqlite3
from pathlib import Path

import pytest
from dagster import DagsterInstance

from r2_hf_assets.preflight import FAIL, OK, WARN
from r2_hf_assets.preflight.dagster_home import check_home

TEMPLATE = Path(__file__).parents[2] / "dagster.yaml"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new folder with the template and no database. pytest's folder in /tmp counts as persistent."""
    monkeypatch.setattr("r2_hf_assets.preflight.dagster_home._TEMPORARY", ())
    (tmp_path / "dagster.yaml").write_bytes(TEMPLATE.read_bytes())
    return tmp_path


def levels(home: Path) -> dict[str, str]:
    return {finding.name: finding.level for finding in check_home(str(home))}


def contents(home: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() if path.is_file() else b"" for path in home.rglob("*")}


def make_databases(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with DagsterInstance.get():
        pass


def test_a_check_changes_neither_a_new_home_nor_a_used_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(home)
    assert levels(home) == {"DAGSTER_HOME": OK, "dagster.yaml": OK, "database": WARN}
    assert contents(home) == before
    make_databases(home, monkeypatch)
    before = contents(home)
    assert home / "history" / "runs.db" in before
    assert levels(home) == {"DAGSTER_HOME": OK, "dagster.yaml": OK, "database": OK}
    assert contents(home) == before


@pytest.mark.parametrize(
    "storage",
    [
        "storage: {sqlite: {base_dir: {env: BASE}}}",
        """
run_storage: {module: dagster._core.storage.runs, class: SqliteRunStorage, config: {base_dir: {env: BASE}}}
event_log_storage:
  {module: dagster._core.storage.event_log, class: SqliteEventLogStorage, config: {base_dir: {env: BASE}}}
schedule_storage:
  {module: dagster._core.storage.schedules, class: SqliteScheduleStorage, config: {base_dir: {env: BASE}}}
""",
    ],
)
def test_a_storage_in_another_folder_is_not_created_either(
    home: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    monkeypatch.setenv("BASE", str(home / "databases"))
    (home / "dagster.yaml").write_text(storage)
    before = contents(home)
    assert levels(home)["database"] == WARN
    assert contents(home) == before
    make_databases(home, monkeypatch)
    before = contents(home)
    assert home / "databases" in before
    assert levels(home)["database"] == OK
    assert contents(home) == before


def test_a_missing_or_wrong_yaml_is_reported(home: Path) -> None:
    (home / "dagster.yaml").unlink()
    assert levels(home)["dagster.yaml"] == WARN
    (home / "dagster.yaml").write_text("run_retries: {enabled: true, max_retries: 2}")
    assert levels(home)["dagster.yaml"] == WARN, "a lost run is not detected"
    for text in ("run_retries: [unclosed", "run_retries: {enabled: perhaps}"):
        (home / "dagster.yaml").write_text(text)
        assert levels(home) == {"DAGSTER_HOME": OK, "dagster.yaml": FAIL}


def test_a_database_with_two_schema_versions_fails(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_databases(home, monkeypatch)
    with sqlite3.connect(home / "history" / "runs.db") as database:
        database.execute("INSERT INTO alembic_version VALUES ('29a8e9d74220')")
    database.close()
    finding = check_home(str(home))[-1]
    assert (finding.name, finding.level) == ("database", FAIL) and "move history" in finding.advice


def test_a_temporary_or_read_only_home_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r2_hf_assets.preflight.dagster_home._TEMPORARY", (str(tmp_path.resolve()),))
    assert levels(tmp_path)["DAGSTER_HOME"] == WARN
    monkeypatch.setattr("os.access", lambda *_: False)
    assert levels(tmp_path)["DAGSTER_HOME"] == FAIL


def test_a_missing_home_fails(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.parent)
    for value in ("", home.name, str(home / "nowhere"), str(home / "dagster.yaml")):
        assert [finding.level for finding in check_home(value)] == [FAIL], value
