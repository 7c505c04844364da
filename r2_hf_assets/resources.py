"""The settings as a resource.

A variable that is set is passed to Dagster as an EnvVar, so configs, events and the UI show its name and not its value.
An unset variable is left out: an unset EnvVar would fail the run with a traceback and a single name, while
`SettingsResource.load` reports all missing names in one line.
"""

import os
from collections.abc import Callable, Mapping
from typing import TypeVar

import dagster as dg
from pydantic import Field

from r2_hf_assets import settings as core
from r2_hf_assets.errors import SettingsError

S = TypeVar("S")

RESTART = "dagster dev reads .env when it starts, so start it again after a change"


class SettingsResource(dg.ConfigurableResource):
    """The variables of r2_hf_assets.settings, by name; unconfigured ones are read from the environment."""

    variables: dict[str, str] = Field(default={}, repr=False)

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, **self.variables}

    def load(self) -> core.Settings:
        """Return the checked settings."""
        return self._load(core.load)

    def load_for_scan(self) -> core.ScanSettings:
        """Return the checked settings, where the Hub's may be missing."""
        return self._load(core.load_for_scan)

    def load_alerts(self) -> core.AlertSettings:
        """Return the checked settings of alerts; the others may be missing or wrong."""
        return self._load(core.load_alerts)

    def _load(self, load: Callable[[Mapping[str, str]], S]) -> S:
        try:
            return load(self.environ)
        except SettingsError as error:
            raise SettingsError(f"{error}; {RESTART}") from None


settings_resource = SettingsResource(
    variables={v.name: dg.EnvVar(v.name) for v in core.VARIABLES if os.environ.get(v.name)}
)
