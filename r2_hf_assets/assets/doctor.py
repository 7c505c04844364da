"""What the doctor finds in DAGSTER_HOME: is history kept, is its database sound, is a run that dies started again."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from dagster import DagsterError, DagsterInstance

from r2_hf_assets.assets.launch import last_scan, open_instance
from r2_hf_assets.doctor.finding import Finding, fail, ok, warn
from r2_hf_assets.doctor.machine import judge_languages
from r2_hf_assets.errors import SettingsError

_TEMPLATE = "copy the template: make home, or cp dagster.yaml into DAGSTER_HOME"
_ANEW = "in it move history and schedules away (r2_hf_assets, the plan, stays), then: r2-hf reconcile --record"
# What a restart of the host may empty.
_FLEETING = ("/tmp", "/var/tmp", "/dev/shm", "/run")


def look_at_instance(grid: tuple[str, ...]) -> list[Finding]:
    """Findings `DAGSTER_HOME`, `dagster.yaml`, `database` and `LANGUAGES`; one alone when nothing can be opened."""
    home = os.environ.get("DAGSTER_HOME", "")
    broken = _judge_yaml(Path(home).expanduser() / "dagster.yaml") if home else None
    if broken:
        return [broken]
    try:
        with open_instance() as instance:
            found = [judge_home(Path(home).expanduser()), judge_daemon(instance), judge_database(_revisions(instance))]
            return [*found, judge_languages(grid, last_scan(instance))]
    except SettingsError as error:
        cause = error.__cause__
        if cause is None:
            return [fail("DAGSTER_HOME", str(error))]
        if isinstance(cause, DagsterError):
            return [fail("dagster.yaml", _first_line(cause), _TEMPLATE)]
        # Two schema versions end as alembic's CommandError, a file that is no database as SQLAlchemy's.
        seen = f"the history at {home} can't be opened: {_first_line(cause)}"
        return [fail("database", seen, _ANEW)]


def _judge_yaml(path: Path) -> Finding | None:
    try:
        yaml.safe_load(path.read_text()) if path.is_file() else None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        return fail("dagster.yaml", f"{path} can't be read: {_first_line(error)}", _TEMPLATE)
    return None


def judge_home(home: Path) -> Finding:
    """A folder that a restart empties is no place for the progress record."""
    if not os.access(home, os.W_OK | os.X_OK):
        return fail("DAGSTER_HOME", f"{home} may not be written", "change its owner or its rights")
    if any(home.resolve().is_relative_to(place) for place in _FLEETING):
        return warn("DAGSTER_HOME", f"{home} lies where a restart may empty it", "move it to a place that is kept")
    return ok("DAGSTER_HOME", f"{home} keeps progress")


def judge_daemon(instance: DagsterInstance) -> Finding:
    """Run retries and run monitoring are off unless dagster.yaml turns them on."""
    off = [
        name
        for name, enabled in (
            ("run_retries", instance.run_retries_enabled and instance.run_retries_max_retries > 0),
            ("run_monitoring", instance.run_monitoring_enabled),
        )
        if not enabled
    ]
    if off:
        seen = f"{' and '.join(off)} off: a run of the UI that dies is not started again"
        return warn("dagster.yaml", seen, _TEMPLATE)
    return ok("dagster.yaml", f"runs that die are started again, up to {instance.run_retries_max_retries} times")


def judge_database(revisions: dict[str, tuple[str | None, str | None] | str]) -> Finding:
    """Schema versions by storage: (what it has, what this Dagster wants), or why that can't be told."""
    broken = [f"{name}: {found}" for name, found in revisions.items() if isinstance(found, str)]
    if broken:
        advice = _ANEW
        return fail("database", "; ".join(broken), advice)
    old = [name for name, found in revisions.items() if found[0] != found[1]]
    if old:
        return warn(
            "database", f"{', '.join(old)}: a schema of another Dagster", "stop all, then: dagster instance migrate"
        )
    return ok("database", f"schema of this Dagster in {len(revisions)} storages")


def _revisions(instance: DagsterInstance) -> dict[str, tuple[str | None, str | None] | str]:
    storages: dict[str, Any] = {
        "runs": instance.run_storage,
        "events": instance.event_log_storage,
        "schedules": instance.schedule_storage,
    }
    found: dict[str, tuple[str | None, str | None] | str] = {}
    for name, storage in storages.items():
        tell: Callable[[], Any] | None = getattr(storage, "alembic_version", None)
        try:
            revisions = tell() if tell else None
        except Exception as error:
            found[name] = _first_line(error)
            continue
        if revisions:
            found[name] = revisions
    return found


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:150]}"
