"""The settings as a resource.

Each variable that is set reaches Dagster as an EnvVar, so configs, events and the UI show its name and never its
value. One that is not set stays out of the config: an unset EnvVar would fail a run with one of several missing names
and a long trace, while `SettingsResource.load` names all of them in one line.
"""

import os

from dagster import ConfigurableResource, EnvVar
from pydantic import Field

from r2_hf_assets import settings as core


class SettingsResource(ConfigurableResource):
    """The variables of r2_hf_assets.settings, by name; those that are not configured are read from the environment."""

    variables: dict[str, str] = Field(default={}, repr=False)

    def load(self) -> core.Settings:
        """Return the checked settings.

        Raises:
            SettingsError: one line that names all that is missing or wrong.
        """
        return core.load({**os.environ, **self.variables})

    def load_for_scan(self) -> core.ScanSettings:
        """Return the checked settings, of which the Hub's may be missing."""
        return core.load_for_scan({**os.environ, **self.variables})


settings_resource = SettingsResource(
    variables={v.name: EnvVar(v.name) for v in core.VARIABLES if os.environ.get(v.name)}
)
