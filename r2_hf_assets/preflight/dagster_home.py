"""DAGSTER_HOME: whether it lasts, its database can be opened, and lost runs are retried.

The one module of this package that loads Dagster. It reads dagster.yaml without opening the instance, which would
create missing databases.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r2_hf_assets.dagster_internals import InstanceRef
from r2_hf_assets.errors import SettingsError
from r2_hf_assets.preflight import Finding, fail, first_line, ok, warn
from r2_hf_assets.settings import dagster_home

_REBUILD = "in it move history and schedules away (r2_hf_assets, the plan, stays), then: r2-hf reconcile --record"
# A restart of the host may empty these.
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/run")
_SQLITE = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")


def check_home(value: str) -> list[Finding]:
    """Return findings `DAGSTER_HOME`, `dagster.yaml` and `database`; fewer after a failure."""
    try:
        home = dagster_home(value)
    except SettingsError as error:
        return [fail("DAGSTER_HOME", "can't be used", str(error))]
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
        return ok("dagster.yaml", f"lost runs are retried up to {most} times")
    seen = "run_retries or run_monitoring is off: a lost run of the UI is not retried"
    return warn("dagster.yaml", seen, "copy the template: make home, or cp dagster.yaml into DAGSTER_HOME")


def _check_database(ref: InstanceRef) -> Finding:
    storage: Any = ref.storage_data
    folder = storage.config_dict.get("base_dir")  # SQLite's only
    if isinstance(folder, str) and (absent := [name for name in _SQLITE if not Path(folder, name).is_file()]):
        return warn(
            "database", f"{absent[0]} does not exist yet", "run make home, before several processes open it at once"
        )
    try:
        storage = ref.storage
        for name in ("run_storage", "event_log_storage", "schedule_storage"):
            getattr(storage, name).alembic_version()
        storage.dispose()
    except Exception as error:  # alembic's for two schema versions, SQLAlchemy's for no database
        advice = _REBUILD if folder else "check storage in dagster.yaml, and its server"
        return fail("database", f"can't be opened: {first_line(error)}", advice)
    return ok("database", "can be opened")
