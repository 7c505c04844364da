"""What is found in a real DAGSTER_HOME, and that nothing is made there."""

import sqlite3
from pathlib import Path

import pytest
from dagster import DagsterInstance

from r2_hf_assets.preflight import FAIL, OK, WARN
from r2_hf_assets.preflight.dagster_home import check_home

TEMPLATE = Path(__file__).parents[2] / "dagster.yaml"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new one, with the template and no database. pytest's folder is below /tmp, which need not be a trap here."""
    monkeypatch.setattr("r2_hf_assets.preflight.dagster_home._FLEETING", ())
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


def test_nothing_is_made_in_a_new_home_and_nothing_changed_in_one_that_is_used(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(home)
    assert levels(home) == {"DAGSTER_HOME": OK, "dagster.yaml": OK, "database": WARN}
    assert contents(home) == before
    make_databases(home, monkeypatch)
    before = contents(home)
    assert home / "history" / "runs.db" in before
    assert levels(home) == {"DAGSTER_HOME": OK, "dagster.yaml": OK, "database": OK}
    assert contents(home) == before


def test_a_home_without_its_yaml_retries_nothing(home: Path) -> None:
    (home / "dagster.yaml").unlink()
    assert levels(home)["dagster.yaml"] == WARN
    (home / "dagster.yaml").write_text("run_retries: {enabled: true, max_retries: 2}")
    assert levels(home)["dagster.yaml"] == WARN, "a run that hangs is not found"
    for text in ("run_retries: [unclosed", "run_retries: {enabled: perhaps}"):
        (home / "dagster.yaml").write_text(text)
        assert levels(home) == {"DAGSTER_HOME": OK, "dagster.yaml": FAIL}


def test_a_database_that_two_processes_made(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_databases(home, monkeypatch)
    with sqlite3.connect(home / "history" / "runs.db") as database:
        database.execute("INSERT INTO alembic_version VALUES ('29a8e9d74220')")
    database.close()
    found = check_home(str(home))[-1]
    assert (found.name, found.level) == ("database", FAIL) and "move history" in found.advice


def test_a_home_that_may_not_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r2_hf_assets.preflight.dagster_home._FLEETING", (str(tmp_path.resolve()),))
    assert levels(tmp_path)["DAGSTER_HOME"] == WARN
    monkeypatch.setattr("os.access", lambda *_: False)
    assert levels(tmp_path)["DAGSTER_HOME"] == FAIL


def test_no_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.parent)
    for given in ("", home.name, str(home / "nowhere"), str(home / "dagster.yaml")):
        assert [finding.level for finding in check_home(given)] == [FAIL], given
