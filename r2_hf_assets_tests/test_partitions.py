"""Chunk numbers become partitions, whoever else adds some at the same moment."""

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
    """An instance on disk, so that another process can be played by a second connection to its database."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with DagsterInstance.get() as instance:
        yield instance


def add_beside(home: Path, *keys: str) -> None:
    with sqlite3.connect(home / "history" / "runs" / "index.db") as connection:
        connection.executemany(
            "insert into dynamic_partitions (partitions_def_name, partition) values ('plan_chunk', ?)",
            [(key,) for key in keys],
        )
    connection.close()


@pytest.mark.parametrize("moments", [1, 3])
def test_a_scan_beside_adds_the_same_ones_after_dagster_looked(
    instance: DagsterInstance, tmp_path: Path, moments: int
) -> None:
    """Up to once a key: chunk_0000 before the first insert, chunk_0001 before the second, and so on."""
    inserts: list[int] = []

    def beside(_connection, _cursor, statement: str, *_rest) -> None:
        if statement.startswith("INSERT INTO dynamic_partitions") and len(inserts) < moments:
            inserts.append(len(inserts))
            add_beside(tmp_path, f"chunk_{inserts[-1]:04d}")

    instance.get_dynamic_partitions("plan_chunk")  # makes the table
    event.listen(Engine, "before_cursor_execute", beside)
    try:
        add_partitions(instance, [2, 0, 1, 2])
    finally:
        event.remove(Engine, "before_cursor_execute", beside)
    assert len(inserts) == moments
    assert sorted(instance.get_dynamic_partitions("plan_chunk")) == ["chunk_0000", "chunk_0001", "chunk_0002"]


def test_a_database_that_refuses_for_ever_is_not_asked_for_ever(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def refuse(_name: str, keys: list[str]) -> None:
        asked.append(keys)
        raise IntegrityError("insert", None, ValueError("another constraint"))

    monkeypatch.setattr(instance, "add_dynamic_partitions", refuse)
    with pytest.raises(IntegrityError, match="another constraint"):
        add_partitions(instance, [0, 1])
    assert asked == [["chunk_0000", "chunk_0001"]] * 3
