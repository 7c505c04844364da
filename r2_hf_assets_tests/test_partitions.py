"""add_partitions with concurrent writers."""

import sqlite3
from pathlib import Path

import pytest
from dagster import DagsterInstance
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from r2_hf_assets.partitions import add_partitions


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An instance on disk, so that a second connection can act as another process."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with DagsterInstance.get() as instance:
        yield instance


def add_concurrently(home: Path, *keys: str) -> None:
    with sqlite3.connect(home / "history" / "runs" / "index.db") as connection:
        connection.executemany(
            "insert into dynamic_partitions (partitions_def_name, partition) values ('plan_chunk', ?)",
            [(key,) for key in keys],
        )
    connection.close()


@pytest.mark.parametrize("races", [1, 3])
def test_a_concurrent_scan_that_adds_the_same_partitions_is_tolerated(
    instance: DagsterInstance, tmp_path: Path, races: int
) -> None:
    """At most one race per key: chunk_0000 before the first insert, chunk_0001 before the second, and so on."""
    inserts: list[int] = []

    def race(_connection, _cursor, statement: str, *_rest) -> None:
        if statement.startswith("INSERT INTO dynamic_partitions") and len(inserts) < races:
            inserts.append(len(inserts))
            add_concurrently(tmp_path, f"chunk_{inserts[-1]:04d}")

    instance.get_dynamic_partitions("plan_chunk")  # creates the table
    event.listen(Engine, "before_cursor_execute", race)
    try:
        add_partitions(instance, [2, 0, 1, 2])
    finally:
        event.remove(Engine, "before_cursor_execute", race)
    assert len(inserts) == races
    assert sorted(instance.get_dynamic_partitions("plan_chunk")) == ["chunk_0000", "chunk_0001", "chunk_0002"]


def test_a_permanent_integrity_error_is_raised_after_limited_attempts(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def refuse(_name: str, keys: list[str]) -> None:
        calls.append(keys)
        raise IntegrityError("insert", None, ValueError("another constraint"))

    monkeypatch.setattr(instance, "add_dynamic_partitions", refuse)
    with pytest.raises(IntegrityError, match="another constraint"):
        add_partitions(instance, [0, 1])
    assert calls == [["chunk_0000", "chunk_0001"]] * 3
