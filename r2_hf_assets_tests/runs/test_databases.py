"""SQLite waits for the disk less often while `fewer_syncs` holds, loses nothing, and is as before afterwards."""

import os
from collections import Counter
from pathlib import Path

import pytest
from alembic.script import Script, ScriptDirectory
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from r2_hf_assets.cli.in_process import open_instance
from r2_hf_assets.runs import databases
from r2_hf_assets.runs.databases import fewer_syncs

NORMAL, FULL = 1, 2


def write(path: Path) -> tuple[str, int]:
    """One connection as Dagster opens it: made, used for one statement, closed. Journal mode and synchronous."""
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("create table if not exists t (n)"))
        connection.execute(text("insert into t values (1)"))
        mode = connection.execute(text("pragma journal_mode")).scalar_one()
        return mode, connection.execute(text("pragma synchronous")).scalar_one()


def rows(path: Path) -> int:
    with create_engine(f"sqlite:///{path}", poolclass=NullPool).connect() as connection:
        return connection.execute(text("select count(*) from t")).scalar_one()


def log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def open_databases(folder: Path) -> set[str]:
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    targets = (os.readlink(link) for link in links if os.path.islink(link))
    return {Path(target).name for target in targets if target.startswith(str(folder)) and target.endswith(".db")}


def test_the_log_of_a_database_outlives_its_connections_and_goes_with_the_block(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with fewer_syncs():
        assert [write(path), write(path)] == [("wal", NORMAL)] * 2
        assert log(path).exists()
    assert not log(path).exists()
    assert rows(path) == 2
    assert write(path) == ("wal", FULL)
    assert not log(path).exists()


def test_only_the_databases_in_use_are_kept_open(tmp_path: Path) -> None:
    with fewer_syncs():
        write(tmp_path / "index.db")
        for run in range(6):
            write(tmp_path / f"run{run}.db")
            write(tmp_path / "index.db")
        assert open_databases(tmp_path) == {"index.db", "run3.db", "run4.db", "run5.db"}
    assert open_databases(tmp_path) == set()


def test_a_database_in_memory_is_left_alone() -> None:
    with fewer_syncs(), create_engine("sqlite://").connect() as connection:
        assert connection.execute(text("pragma database_list")).fetchone() == (0, "main", "")


def test_the_instance_of_the_command_line_is_opened_so(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with open_instance() as instance:
        instance.add_dynamic_partitions("plan_chunk", ["chunk_0000"])
        assert log(tmp_path / "history" / "runs" / "index.db").exists()
    with open_instance() as instance:
        assert instance.get_dynamic_partitions("plan_chunk") == ["chunk_0000"]


def test_migration_scripts_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Counter[str]()
    real = Script._from_path

    def counted(scripts: ScriptDirectory, path: str) -> Script | None:
        read[path] += 1
        return real(scripts, path)

    monkeypatch.setattr(Script, "_from_path", counted)
    monkeypatch.setattr(ScriptDirectory, "from_config", databases._scripts.__wrapped__)
    databases._scripts.cache_clear()
    for home in (tmp_path / "a", tmp_path / "b"):
        home.mkdir()
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        with open_instance():
            pass
    assert 0 < max(read.values()) <= 3  # of runs, events and schedules
