"""DAGSTER_HOME: is history kept there, is its database sound, is a run that dies started again.

The one module of this package that loads Dagster. It reads dagster.yaml without opening the instance, which would make
databases where there are none; databases that are there are opened.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r2_hf_assets.dagster_internals import InstanceRef
from r2_hf_assets.preflight import Finding, fail, first_line, ok, warn

_ANEW = "in it move history and schedules away (r2_hf_assets, the plan, stays), then: r2-hf reconcile --record"
# What a restart of the host may empty.
_FLEETING = ("/tmp", "/var/tmp", "/dev/shm", "/run")
_SQLITE = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")


def check_home(given: str) -> list[Finding]:
    """Findings `DAGSTER_HOME`, `dagster.yaml` and `database`, up to the first that leaves nothing for the next."""
    home = Path(given).expanduser()
    if not home.is_absolute() or not home.is_dir():
        seen = f"{given!r} is no absolute path of a folder"
        return [fail("DAGSTER_HOME", seen, "make one, and set DAGSTER_HOME in .env")]
    kept = ok("DAGSTER_HOME", f"{home} keeps progress")
    if not os.access(home, os.W_OK | os.X_OK):
        kept = fail("DAGSTER_HOME", f"{home} may not be written", "change its owner or its rights")
    elif any(home.resolve().is_relative_to(place) for place in _FLEETING):
        kept = warn("DAGSTER_HOME", f"{home} lies where a restart may empty it", "move it to a place that is kept")
    try:
        ref = InstanceRef.from_dir(str(home))
    except Exception as error:  # no YAML, or none of Dagster's
        advice = "mend it, or copy the template over it"
        return [kept, fail("dagster.yaml", f"can't be read: {first_line(error)}", advice)]
    return [kept, _check_retries(ref.settings), _check_database(ref)]


def _check_retries(settings: Mapping[str, Any]) -> Finding:
    """Run retries and run monitoring are off unless dagster.yaml, as Dagster reads it, turns them on."""
    retries, monitoring = (settings.get(name) or {} for name in ("run_retries", "run_monitoring"))
    most = retries.get("max_retries", 0)
    if retries.get("enabled") and most and monitoring.get("enabled"):
        return ok("dagster.yaml", f"runs that die are started again, up to {most} times")
    seen = "run_retries or run_monitoring is off: a run of the UI that dies is not started again"
    return warn("dagster.yaml", seen, "copy the template: make home, or cp dagster.yaml into DAGSTER_HOME")


def _check_database(ref: InstanceRef) -> Finding:
    storage: Any = ref.storage_data
    folder = storage.config_dict.get("base_dir")  # SQLite's alone
    if isinstance(folder, str) and (absent := [name for name in _SQLITE if not Path(folder, name).is_file()]):
        return warn("database", f"{absent[0]} is not there yet", "make home, before several processes open it at once")
    try:
        storage = ref.storage
        for name in ("run_storage", "event_log_storage", "schedule_storage"):
            getattr(storage, name).alembic_version()
        storage.dispose()
    except Exception as error:  # alembic's where there are two versions, SQLAlchemy's where there is no database
        advice = _ANEW if folder else "check storage in dagster.yaml, and the server that it names"
        return fail("database", f"can't be opened: {first_line(error)}", advice)
    return ok("database", "can be opened")
