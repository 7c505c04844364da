"""The settings as a resource.

Each variable that is set reaches Dagster as an EnvVar, so configs, events and the UI show its name and never its
value. One that is not set stays out of the config: an unset EnvVar would fail a run with one of several missing names
and a long trace, while `SettingsResource.load` answers all of them in one line.
"""

import os

from dagster import ConfigurableResource, EnvVar
from pydantic import Field

from r2_hf_assets import settings as core


class SettingsResource(ConfigurableResource):
    """Every variable of r2_hf_assets.settings, by its lower-case name."""

    r2_endpoint_url: str = ""
    r2_access_key_id: str = Field(default="", repr=False)
    r2_secret_access_key: str = Field(default="", repr=False)
    r2_bucket: str = ""
    r2_region: str = ""
    r2_session_token: str = Field(default="", repr=False)
    hf_repo_id: str = ""
    hf_token: str = Field(default="", repr=False)
    episodes_per_chunk: str = ""
    download_workers: str = ""
    parquet_max_bytes: str = ""
    parquet_rowgroup_bytes: str = ""
    hf_hub_enable_hf_transfer: str = ""
    processed_prefix: str = ""
    languages: str = ""
    state_url: str = ""
    settle_minutes: str = ""
    plan_max_wait_hours: str = ""
    hf_private: str = ""
    hf_endpoint: str = ""
    dataset_title: str = ""
    dataset_license: str = ""
    keep_shards: str = ""

    def load(self) -> core.Settings:
        """The checked settings: what is configured here, else the environment.

        Raises:
            SettingsError: one line that names all that is missing or wrong.
        """
        return core.load(self._environ())

    def load_for_scan(self) -> core.ScanSettings:
        """The same; the Hub's may be missing."""
        return core.load_for_scan(self._environ())

    def _environ(self) -> dict[str, str]:
        configured = {v.name: getattr(self, v.name.lower()) for v in core.VARIABLES}
        return {**os.environ, **{name: value for name, value in configured.items() if value}}


settings_resource = SettingsResource(
    **{v.name.lower(): EnvVar(v.name) for v in core.VARIABLES if os.environ.get(v.name)}
)
