"""The settings: complete and valid; and what can be looked at all the same where they are not."""

from collections.abc import Callable, Mapping
from typing import Any

from r2_hf_assets.doctor.finding import Finding, fail, ok, warn
from r2_hf_assets.errors import SettingsError
from r2_hf_assets.settings import VARIABLES, Settings, load

# Variables of earlier releases, and what takes their place.
_FORMER = {
    "SHARD_URL": "shards go straight to the Hub and nothing waits for a commit",
    "CHUNKS_PER_COMMIT": "a larger EPISODES_PER_CHUNK makes fewer commits",
}


def look_at_settings(environ: Mapping[str, str]) -> tuple[list[Finding], Settings]:
    """What is missing or wrong, what is not read any more, and the settings without what is wrong: groups that are not
    complete are None."""
    given = sum(bool(environ.get(variable.name, "").strip()) for variable in VARIABLES)
    try:
        settings = load(environ)
        fine = ok("settings", f"complete: {given} given, defaults for {len(VARIABLES) - given}")
        return [fine, *_former(environ)], settings
    except SettingsError as error:
        said = fail("settings", str(error).removeprefix("settings: "))
    wrong = {variable.name for variable in VARIABLES if not _is_right(variable.parse, environ.get(variable.name, ""))}
    right = {name: value for name, value in environ.items() if name not in wrong}
    return [said, *_former(environ)], load(right, needs=())


def _former(environ: Mapping[str, str]) -> list[Finding]:
    found = {name: instead for name, instead in _FORMER.items() if environ.get(name, "").strip()}
    if not found:
        return []
    told = "; ".join(f"{name} is not read any more: {instead}" for name, instead in found.items())
    return [warn("former", told, f"remove {' and '.join(found)}")]


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
