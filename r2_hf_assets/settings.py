"""Every environment variable, declared once as a dataclass field: name, default, meaning and check.

`load` reads an environment into these frozen dataclasses, and reports all that is missing or wrong in one line before
any work. Nothing else in the data plane reads the environment, so the command line, Dagster and tests build the same
objects. Secrets appear in no repr and no error.
"""

import os
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import certifi

from r2_hf_assets import parsers
from r2_hf_assets.errors import SettingsError
from r2_hf_assets.parsers import parse_languages

T = TypeVar("T")


@dataclass(frozen=True)
class Variable:
    """One environment variable; `default` is None if it must be set."""

    name: str
    parse: Callable[[str], Any]
    help: str
    default: str | None
    secret: bool


def _env(name: str, parse: Callable[[str], T], help: str, default: str | None = None, secret: bool = False) -> T:
    """Declare a dataclass field that is read from the environment variable `name`."""
    metadata = {"variable": Variable(name, parse, help, default, secret)}
    return field(default=MISSING if default is None else parse(default), repr=not secret, metadata=metadata)  # type: ignore[return-value]


@dataclass(frozen=True)
class BucketSettings:
    """Where the episodes are, and how many requests may be in flight."""

    endpoint_url: str = _env("R2_ENDPOINT_URL", parsers.endpoint, "https://<account>.r2.cloudflarestorage.com")
    access_key_id: str = _env("R2_ACCESS_KEY_ID", parsers.token, "Read access is enough.", secret=True)
    secret_access_key: str = _env("R2_SECRET_ACCESS_KEY", parsers.token, "Its secret.", secret=True)
    name: str = _env("R2_BUCKET", parsers.bucket, "The bucket that holds the episodes.")
    prefix: str = _env("PROCESSED_PREFIX", parsers.prefix, "Key prefix above the language folders.", "processed/")
    workers: int = _env("DOWNLOAD_WORKERS", parsers.count, "GET requests in flight.", "128")
    region: str = _env("R2_REGION", parsers.region, "auto for R2; elsewhere the bucket's, e.g. eu-central-1.", "auto")
    session_token: str = _env("R2_SESSION_TOKEN", parsers.token, "The token of temporary credentials.", "", secret=True)


@dataclass(frozen=True)
class HubSettings:
    """The dataset repo and how to reach it."""

    repo_id: str = _env("HF_REPO_ID", parsers.repo_id, "owner/name of the dataset; created when missing.")
    token: str = _env("HF_TOKEN", str, "A token that may write to it.", secret=True)
    endpoint: str = _env("HF_ENDPOINT", parsers.http_url, "The Hub.", "https://huggingface.co")
    private: bool = _env("HF_PRIVATE", parsers.flag, "1: a repo that is created is private.", "0")
    fast_transfer: bool = _env(
        "HF_HUB_ENABLE_HF_TRANSFER", parsers.flag, "1: full speed (HF_XET_HIGH_PERFORMANCE).", "0"
    )
    title: str = _env("DATASET_TITLE", lambda value: " ".join(value.split()), "The dataset's name on its card.", "")
    license: str = _env("DATASET_LICENSE", parsers.license, "Its license on the card, e.g. cc-by-4.0.", "")


@dataclass(frozen=True)
class PlanSettings:
    """How episodes become chunks, and where the plan is stored."""

    state_url: str = _env(
        "STATE_URL", parsers.store_url, "Where plan and build records are stored: a folder or s3://...", ""
    )
    episodes_per_chunk: int = _env("EPISODES_PER_CHUNK", parsers.count, "Episodes in a new chunk.", "1000")
    languages: tuple[str, ...] = _env("LANGUAGES", parse_languages, "Only these, e.g. en,de; empty: all.", "")
    max_wait_hours: float = _env(
        "PLAN_MAX_WAIT_HOURS", parsers.amount, "Hours until a sensor plans a partial chunk.", "24"
    )


@dataclass(frozen=True)
class ShardSettings:
    """How rows become files."""

    scratch: str  # the folder of the part being built, for uploads without Xet
    kept_folder: str  # the folder of uploaded files, if `keep` is set
    max_bytes: int = _env(
        "PARQUET_MAX_BYTES", parsers.count, "A chunk larger than this is split into parts.", "2147483648"
    )
    rowgroup_bytes: int = _env(
        "PARQUET_ROWGROUP_BYTES", parsers.rowgroup_bytes, "Audio bytes in a row group.", "33554432"
    )
    settle_minutes: float = _env(
        "SETTLE_MINUTES", parsers.amount, "Audio beside younger metadata may still arrive.", "15"
    )
    keep: bool = _env("KEEP_SHARDS", parsers.flag, "1: keep the files in DAGSTER_HOME too.", "0")


@dataclass(frozen=True)
class AlertSettings:
    """Whom the sensor `alerts` tells what needs a person."""

    email_to: tuple[str, ...] = _env(
        "ALERT_EMAIL_TO", parsers.mails, "Mail addresses for alerts, separated by commas.", ""
    )
    smtp_url: str = _env(
        "ALERT_SMTP_URL", parsers.smtp_url, "smtp[s]://user:password@host:port for alerts.", "", secret=True
    )
    email_from: str = _env(
        "ALERT_EMAIL_FROM", parsers.mail, "Their sender; empty: the first address that gets them.", ""
    )
    slack_channel: str = _env("ALERT_SLACK_CHANNEL", str, "A Slack channel for alerts, e.g. #speech.", "")
    slack_token: str = _env("ALERT_SLACK_TOKEN", parsers.token, "A bot's token with chat:write there.", "", secret=True)
    ui_url: str = _env("ALERT_UI_URL", parsers.http_url, "Dagster's UI, for links in alerts.", "http://127.0.0.1:3000")


_GROUPS: dict[str, type] = {
    "r2": BucketSettings,
    "hub": HubSettings,
    "plan": PlanSettings,
    "shards": ShardSettings,
    "alerts": AlertSettings,
}
_TOGETHER = (("ALERT_EMAIL_TO", "ALERT_SMTP_URL"), ("ALERT_SLACK_CHANNEL", "ALERT_SLACK_TOKEN"))
# Each variable with its group and the attribute there.
_DECLARED: list[tuple[str, str, Variable]] = [
    (group, attribute.name, attribute.metadata["variable"])
    for group, kind in _GROUPS.items()
    for attribute in fields(kind)
    if attribute.metadata
]
VARIABLES: tuple[Variable, ...] = tuple(variable for _, _, variable in _DECLARED)


@dataclass(frozen=True)
class PartialSettings:
    """The settings; `r2` and `hub` are None when a variable that they need is not set."""

    plan: PlanSettings
    shards: ShardSettings
    r2: BucketSettings | None
    hub: HubSettings | None

    @property
    def dataset(self) -> str | None:
        return self.hub.repo_id if self.hub else None


@dataclass(frozen=True)
class ScanSettings(PartialSettings):
    r2: BucketSettings


@dataclass(frozen=True)
class Settings(ScanSettings):
    hub: HubSettings


P = TypeVar("P", bound=PartialSettings)


def data_home(environ: Mapping[str, str]) -> Path:
    """Return the folder for scratch files, uploaded files and, without STATE_URL, the plan.

    It is in DAGSTER_HOME, because a history without its plan would assign chunk numbers twice.
    """
    home = environ.get("DAGSTER_HOME")
    return Path(home).expanduser() / "r2_hf_assets" if home else Path(".r2_hf_assets")


def dagster_home(value: str) -> Path:
    """Return DAGSTER_HOME as a path; SettingsError unless it is the absolute path of an existing folder."""
    home = Path(value).expanduser()
    if not value:
        problem = " is not set: create a folder for the history, and set its absolute path in .env"
    elif not home.is_absolute():
        problem = f"={value} is a relative path: set the absolute one, {home.absolute()}, in .env"
    elif not home.exists():
        problem = f"={value} does not exist: create this folder, or correct .env"
    elif not home.is_dir():
        problem = f"={value} is a file: set the path of a folder in .env"
    else:
        return home
    raise SettingsError(f"DAGSTER_HOME{problem}")


def hub_home() -> str:
    """Return the folder of huggingface_hub's and hf_xet's caches."""
    return os.environ.get("HF_HOME") or "~/.cache/huggingface"


def is_enabled(name: str) -> bool:
    """Whether a switch of huggingface_hub or hf_xet is on, by huggingface_hub's own rule."""
    return os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")


def ca_bundle(environ: Mapping[str, str] = os.environ) -> str:
    """Return the PEM file of certificate authorities for every client of the bucket.

    AWS_CA_BUNDLE, else SSL_CERT_FILE, else certifi's. SettingsError when the variable names no such file. The Hub's
    clients read SSL_CERT_FILE alone, because a bundle for a private S3 seldom holds the Hub's authority.
    """
    for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):
        if path := environ.get(name, "").strip():
            _check_bundle(name, path)
            return path
    return certifi.where()


@cache  # every connection reads it
def _check_bundle(name: str, path: str) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except OSError:  # an SSLError is one
        raise SettingsError(f"settings: {name}={path!r} must name a file of PEM certificates") from None


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read and check the settings, in which an empty value counts as not set.

    SettingsError in one line for every variable that is missing or wrong.
    """
    return _load(Settings, environ, "r2", "hub")


def load_for_scan(environ: Mapping[str, str] = os.environ) -> ScanSettings:
    """Read the settings; the Hub's may be missing."""
    return _load(ScanSettings, environ, "r2")


def load_partial(environ: Mapping[str, str] = os.environ) -> PartialSettings:
    """Read the settings; the bucket's and the Hub's may be missing."""
    return _load(PartialSettings, environ)


def load_alerts(environ: Mapping[str, str] = os.environ) -> AlertSettings:
    """Read the settings of alerts alone, so that an alert can name what is wrong with the others."""
    values, _, wrong = _parse(environ, ["alerts"])
    if wrong:
        raise _problem([], wrong)
    return AlertSettings(**values["alerts"])


def _load(kind: type[P], environ: Mapping[str, str], *needs: str) -> P:
    values, missing, wrong = _parse(environ, _GROUPS)
    if wrong or missing.keys() & set(needs):
        # Variables of the other groups too, so that .env is completed in one step.
        raise _problem([name for group in missing.values() for name in group], wrong)
    home = data_home(environ)
    values["plan"]["state_url"] = values["plan"]["state_url"] or str(home / "state")
    return kind(
        plan=PlanSettings(**values["plan"]),
        shards=ShardSettings(str(home / "scratch"), str(home / "shards"), **values["shards"]),
        r2=None if "r2" in missing else BucketSettings(**values["r2"]),
        hub=None if "hub" in missing else HubSettings(**values["hub"]),
    )


def _parse(
    environ: Mapping[str, str], groups: Collection[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]], list[str]]:
    """Return values by group and attribute, the names of missing variables by group, and what is wrong."""
    values: dict[str, dict[str, Any]] = {group: {} for group in groups}
    missing: dict[str, list[str]] = {}
    wrong: list[str] = []
    for group, attribute, variable in _DECLARED:
        if group not in groups:
            continue
        raw = environ.get(variable.name, "").strip() or variable.default
        if raw is None:
            missing.setdefault(group, []).append(variable.name)
            continue
        try:
            values[group][attribute] = variable.parse(raw)
        except ValueError as problem:
            shown = "" if variable.secret or "@" in raw else f"={raw!r}"
            wrong.append(f"{variable.name}{shown}: {problem}")
    for name, other in _TOGETHER:
        if environ.get(name, "").strip() and not environ.get(other, "").strip():
            wrong.append(f"{name}: it needs {other} too")
    return values, missing, wrong


def _problem(unset: Sequence[str], wrong: Sequence[str]) -> SettingsError:
    lines = [f"not set: {', '.join(unset)} (add to .env, see .env.example)"] if unset else []
    return SettingsError(f"settings: {'; '.join(lines + [f'{one} (correct in .env)' for one in wrong])}")
