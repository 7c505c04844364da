"""Keep Dagster's SQLite databases from waiting for the disk at every event, in a process that records many runs.

Dagster opens a connection for each event and closes it again. SQLite then waits for the disk twice: when the event is
committed, and when the last connection to a database closes, which moves its write-ahead log into the database. Here a
second connection keeps recent databases open, and commits are synced when the log is moved (`synchronous=NORMAL`,
which SQLite advises with a write-ahead log).

A killed process loses nothing. When the host loses power, the databases stay consistent and may lack the last events:
those chunks are due again, and their commits are found on the Hub.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.engine import Engine

_scripts = cache(ScriptDirectory.from_config)

# Runs, events, schedules, and the one of the current run; older ones are closed.
_KEPT_OPEN = 4


@contextmanager
def fewer_syncs() -> Iterator[None]:
    """Apply this to all SQLite databases that SQLAlchemy opens within the block."""
    kept: OrderedDict[str, sqlite3.Connection] = OrderedDict()

    def connected(connection: Any, _: object) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        connection.execute("PRAGMA journal_mode=WAL")  # as Dagster does, but after it made the tables
        connection.execute("PRAGMA synchronous=NORMAL")
        _, _, path = connection.execute("PRAGMA database_list").fetchone()
        if not path:
            return  # in memory
        if path not in kept:
            kept[path] = sqlite3.connect(path, check_same_thread=False)
            kept[path].execute("PRAGMA schema_version").fetchone()  # opened by its first read
        kept.move_to_end(path)
        while len(kept) > _KEPT_OPEN:
            kept.popitem(last=False)[1].close()

    event.listen(Engine, "connect", connected)
    try:
        yield
    finally:
        event.remove(Engine, "connect", connected)
        for connection in kept.values():
            connection.close()


def read_migrations_once() -> None:
    """Have Dagster read its migration scripts once a process.

    It compares them with each database that it opens, three of an instance and one of each run, for 25 ms each.
    """
    ScriptDirectory.from_config = _scripts  # type: ignore[method-assign]
