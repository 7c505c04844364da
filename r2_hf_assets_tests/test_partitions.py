"""The grid's languages, remembered between loads of the code; add_partitions with concurrent writers."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from dagster import DagsterInstance, StaticPartitionsDefinition
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from r2_hf_assets import partitions
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.partitions import (
    GRID_FILE,
    add_partitions,
    chunk_partitions,
    describe_grid,
    grid_languages,
    grid_with,
    remember_languages,
)
from r2_hf_assets.plan.chunks import ChunkRef

PLAN = [ChunkRef("de", 0, "d", 1), ChunkRef("en", 0, "e", 1), ChunkRef("en", 1, "f", 1), ChunkRef("unknown", 0, "u", 1)]


def home(tmp_path: Path) -> dict[str, str]:
    return {"DAGSTER_HOME": str(tmp_path)}


def test_the_grid_has_the_languages_of_the_plan_after_the_next_load(tmp_path: Path) -> None:
    assert grid_languages(home(tmp_path)) == LANGUAGES, "there is no plan"
    remember_languages(PLAN, home(tmp_path))
    assert grid_languages(home(tmp_path)) == ("de", "en", "unknown")
    remember_languages([*PLAN, ChunkRef("fr", 0, "x", 1)], home(tmp_path))
    assert grid_languages(home(tmp_path)) == ("de", "en", "fr", "unknown")
    loaded = subprocess.run(
        [sys.executable, "-c", "from r2_hf_assets.partitions import *; print(chunk_partitions.partitions_defs[0])"],
        env=home(tmp_path),
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "'de', 'en', 'fr', 'unknown'" in loaded
    assert [file.name for file in (tmp_path / "r2_hf_assets").iterdir()] == [GRID_FILE]
    remember_languages([], home(tmp_path))
    assert grid_languages(home(tmp_path)) == LANGUAGES, "the plan is gone"


@pytest.mark.parametrize(
    ("languages", "grid"), [("en,klingon", ("de", "en", "unknown")), ("fr", ("fr",)), (" ", ("de", "en", "unknown"))]
)
def test_languages_come_before_the_plan(tmp_path: Path, languages: str, grid: tuple[str, ...]) -> None:
    remember_languages(PLAN, home(tmp_path))
    assert grid_languages({**home(tmp_path), "LANGUAGES": languages}) == grid


@pytest.mark.parametrize("damaged", [b"de,e", b"\xff\xfe", b"<html>", b""])
def test_a_damaged_file_widens_the_grid_until_the_next_scan(tmp_path: Path, damaged: bytes) -> None:
    remember_languages(PLAN, home(tmp_path))
    (tmp_path / "r2_hf_assets" / GRID_FILE).write_bytes(damaged)
    assert grid_languages(home(tmp_path)) == LANGUAGES
    remember_languages(PLAN, home(tmp_path))
    assert grid_languages(home(tmp_path)) == ("de", "en", "unknown")


def test_a_home_that_cannot_be_written_is_logged_and_keeps_the_grid(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "r2_hf_assets").write_text("a file in place of the folder")
    remember_languages(PLAN, home(tmp_path))
    assert grid_languages(home(tmp_path)) == LANGUAGES
    assert f"{GRID_FILE} can't be written, so the grid keeps its languages" in caplog.text


@pytest.mark.parametrize(
    ("loaded", "line"),
    [
        (("de", "en", "unknown"), "3 languages"),
        (("de",), "1 languages; to list en, unknown too, reload the code location (in the UI: Deployment, Reload)"),
        (LANGUAGES, f"{len(LANGUAGES)} languages; to list only the 3 of the plan, reload the code location"),
    ],
)
def test_a_difference_between_grid_and_plan_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, loaded: tuple[str, ...], line: str
) -> None:
    monkeypatch.setattr(partitions, "LOADED_LANGUAGES", loaded)
    assert describe_grid(PLAN).startswith(line) and describe_grid([]).startswith(f"{len(loaded)} languages")


def test_a_language_that_the_grid_does_not_list_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sensor's request, a run and a command validate keys so."""
    languages = partitions.chunk_grid(["de"]).get_partitions_def_for_dimension("language")
    assert languages.get_partition_keys() == ["de"] and isinstance(languages, StaticPartitionsDefinition)
    assert languages.has_partition_key("fr") and not languages.has_partition_key("klingon")
    monkeypatch.setattr(partitions, "ALLOWED_LANGUAGES", ("de", "en"))
    assert not languages.has_partition_key("fr"), "LANGUAGES leaves it out"


def test_statuses_of_chunks_outside_the_loaded_grid_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "LOADED_LANGUAGES", ("de", "en", "unknown"))
    assert grid_with(PLAN) is chunk_partitions
    wider = grid_with([*PLAN, ChunkRef("fr", 0, "x", 1)])
    assert wider.get_partitions_def_for_dimension("language").get_partition_keys() == ["de", "en", "unknown", "fr"]


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
