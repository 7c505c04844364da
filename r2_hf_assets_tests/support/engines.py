"""One SQLAlchemy engine for each SQLite database of Dagster in a test process.

Dagster creates an engine for each connection, which compiles every statement again: a third of a run's CPU time.
"""

from functools import lru_cache
from typing import Any

from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from sqlalchemy import Engine, create_engine

_STORAGES = (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage)
_options: dict[str, dict[str, Any]] = {}


@lru_cache(maxsize=64)
def _engine(url: str, options: str) -> Engine:
    return create_engine(url, **_options[options])


def _one_engine(url: str, **options: Any) -> Engine:
    _options[name := repr(options)] = options
    return _engine(url, name)


def keep_engines() -> None:
    for storage in _STORAGES:
        storage.create_engine = _one_engine  # type: ignore[attr-defined]
