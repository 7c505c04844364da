"""DAGSTER_HOME: whether it lasts, its database can be opened, and lost runs are retried.

The one module of this package that loads Dagster. It reads dagster.yaml without opening the instance, which would
create missing databases.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from r2_hf_assets.dagster_internals import InstanceRef
from r2_hf_assets.errors import SettingsError, first_line
from r2_hf_assets.plural import plural
from r2_hf_assets.preflight import Finding, fail, ok, warn
from r2_hf_assets.settings import dagster_home

_REBUILD = "in it move history and schedules away (r2_hf_assets, the plan, stays), then: r2-hf reconcile --record"
# A restart of the host may empty these.
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/run")
# The databases of each storage in SQLite, below its base_dir.
_SQLITE = {
    "DagsterSqliteStorage": ("history/runs.db", "history/runs/index.db", "schedules/schedules.db"),
    "SqliteRunStorage": ("runs.db",),
    "SqliteEventLogStorage": ("index.db",),
    "SqliteScheduleStorage": ("schedules.db",),
}


def check_home(value: str) -> list[Finding]:
    """Return findings `DAGSTER_HOME`, `dagster.yaml` and `database`; fewer after a failure."""
    try:
        home = dagster_home(value)
    except SettingsError as error:
        seen, _, advice = str(error).partition(": ")
        return [fail("DAGSTER_HOME", seen, advice)]
    folder = ok("DAGSTER_HOME", f"{home} exists")
    if not os.access(home, os.W_OK | os.X_OK):
        folder = fail("DAGSTER_HOME", f"{home} is not writable", "change its owner or mode")
    elif any(home.resolve().is_relative_to(place) for place in _TEMPORARY):
        folder = warn("DAGSTER_HOME", f"a restart of the host may empty {home}", "move it to a persistent folder")
    try:
        ref = InstanceRef.from_dir(str(home))
    except Exception as error:  # YAML's or Dagster's
        return [folder, fail("dagster.yaml", f"can't be read: {first_line(error)}", "fix it, or copy the template")]
    return [folder, _check_retries(ref.settings), _check_database(ref)]


def _check_retries(settings: Mapping[str, Any]) -> Finding:
    retries, monitoring = (settings.get(name) or {} for name in ("run_retries", "run_monitoring"))
    most = retries.get("max_retries", 0)
    if retries.get("enabled") and most and monitoring.get("enabled"):
        return ok("dagster.yaml", f"lost runs are retried up to {plural(most, 'time')}")
    seen = "run_retries or run_monitoring is off: a lost run of the UI is not retried"
    return warn("dagster.yaml", seen, "copy the template: make home, or cp dagster.yaml into DAGSTER_HOME")


def _check_database(ref: InstanceRef) -> Finding:
    databases = list(_sqlite_databases(ref))
    if absent := [path for path in databases if not path.is_file()]:
        seen = f"{absent[0]} does not exist yet"
        return warn("database", seen, "run make home, before several processes open it at once")
    try:
        storage: Any = ref.storage
        for name in ("run_storage", "event_log_storage", "schedule_storage"):
            getattr(storage, name).alembic_version()
            getattr(storage, name).dispose()
    except Exception as error:  # alembic's for two schema versions, SQLAlchemy's for no database
        advice = _REBUILD if databases else "check storage in dagster.yaml, and its server"
        return fail("database", f"can't be opened: {first_line(error)}", advice)
    return ok("database", "can be opened")


def _sqlite_databases(ref: InstanceRef) -> Iterator[Path]:
    """Yield the files of the storages in SQLite; opening a storage would create them."""
    parts = (ref.storage_data, ref.run_storage_data, ref.event_storage_data, ref.schedule_storage_data)
    whole = parts[0] is not None and parts[0].class_name in _SQLITE
    for part in parts[:1] if whole else parts[1:]:  # dagster.yaml may name three storages in place of one
        names = _SQLITE.get(part.class_name, ()) if part else ()
        folder = part.config_dict["base_dir"] if part and names else ""
        if isinstance(folder, dict):  # {env: NAME}
            folder = os.environ.get(folder.get("env", ""), "")
        yield from (Path(folder, name) for name in names)
