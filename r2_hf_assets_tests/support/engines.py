"""One SQLAlchemy engine for each SQLite database of Dagster in a test process.

Dagster creates an engine for each connection, which compiles every statement again: a sixth of the tests' CPU time.
"""

from typing import Any

from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from sqlalchemy import Engine, create_engine

_STORAGES = (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage)
_MOST = 64
_engines: dict[str, Engine] = {}


def _one_engine(url: str, **options: Any) -> Engine:
    """Return the database's engine; Dagster has one set of options for each."""
    engine = _engines.get(url)
    if engine is None:
        if len(_engines) == _MOST:
            _engines.clear()
        engine = _engines[url] = create_engine(url, **options)
    return engine


def keep_engines() -> None:
    for storage in _STORAGES:
        storage.create_engine = _one_engine  # type: ignore[attr-defined]
