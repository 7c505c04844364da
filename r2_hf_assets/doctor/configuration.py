"""The settings: complete and valid; and what can be looked at all the same where they are not."""

from collections.abc import Callable, Mapping
from typing import Any

from r2_hf_assets.doctor.finding import Finding, fail, ok
from r2_hf_assets.errors import SettingsError
from r2_hf_assets.settings import VARIABLES, Settings, load


def look_at_settings(environ: Mapping[str, str]) -> tuple[list[Finding], Settings]:
    """What is missing or wrong, and the settings without what is wrong: groups that are not complete are None."""
    given = sum(bool(environ.get(variable.name, "").strip()) for variable in VARIABLES)
    try:
        settings = load(environ)
        return [ok("settings", f"complete: {given} given, defaults for {len(VARIABLES) - given}")], settings
    except SettingsError as error:
        said = fail("settings", str(error).removeprefix("settings: "))
    wrong = {variable.name for variable in VARIABLES if not _is_right(variable.parse, environ.get(variable.name, ""))}
    right = {name: value for name, value in environ.items() if name not in wrong}
    return [said], load(right, needs=())


def secrets_of(environ: Mapping[str, str]) -> list[str]:
    """The values that nobody may see, the longest first."""
    values = {environ.get(variable.name, "").strip() for variable in VARIABLES if variable.secret}
    return sorted(filter(None, values), key=len, reverse=True)


def _is_right(parse: Callable[[str], Any], value: str) -> bool:
    try:
        parse(value.strip()) if value.strip() else None
    except ValueError:
        return False
    return True
