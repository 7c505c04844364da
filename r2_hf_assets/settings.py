"""Every environment variable, once: its name, default, meaning and check.

Each is declared as a field of the group that it belongs to. `load` turns an environment into these frozen dataclasses,
one a part of the flow, and reports everything that is missing or wrong in one line before any work is done. Nothing
else in the data plane reads the environment, so the command line, Dagster and tests all build the same objects. Secrets
never appear in a repr or in an error.
"""

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import certifi

from r2_hf_assets import parsing
from r2_hf_assets.errors import SettingsError
from r2_hf_assets.languages import LANGUAGES

T = TypeVar("T")
Group = Literal["r2", "hub", "plan", "shards"]

# Arrow's `binary` column has 32-bit offsets, so one row group's audio must stay below 2 GiB.
MAX_ROWGROUP_BYTES = 2**31 - 2**20


@dataclass(frozen=True)
class Variable:
    """One environment variable. `default` None means that it must be set when its group is needed."""

    name: str
    parse: Callable[[str], Any]
    help: str
    default: str | None
    secret: bool


def _env(name: str, parse: Callable[[str], T], help: str, default: str | None = None, secret: bool = False) -> T:
    """A dataclass field that is read from the environment variable `name`; its type is what `parse` returns."""
    metadata = {"variable": Variable(name, parse, help, default, secret)}
    return field(default=MISSING if default is None else parse(default), repr=not secret, metadata=metadata)  # type: ignore[return-value]


@dataclass(frozen=True)
class BucketSettings:
    """Where the episodes are, and how many requests may be in flight."""

    endpoint_url: str = _env("R2_ENDPOINT_URL", parsing.endpoint, "https://<account>.r2.cloudflarestorage.com")
    access_key_id: str = _env("R2_ACCESS_KEY_ID", parsing.token, "Read access is enough.", secret=True)
    secret_access_key: str = _env("R2_SECRET_ACCESS_KEY", parsing.token, "Its secret.", secret=True)
    name: str = _env("R2_BUCKET", parsing.bucket, "The bucket that holds the episodes.")
    prefix: str = _env("PROCESSED_PREFIX", parsing.prefix, "Key prefix above the language folders.", "processed/")
    workers: int = _env("DOWNLOAD_WORKERS", parsing.count, "GET requests in flight.", "128")
    region: str = _env("R2_REGION", parsing.region, "auto for R2; elsewhere the bucket's, e.g. eu-central-1.", "auto")
    session_token: str = _env("R2_SESSION_TOKEN", parsing.token, "The token of temporary credentials.", "", secret=True)


@dataclass(frozen=True)
class HubSettings:
    """The dataset repo and how to reach it."""

    repo_id: str = _env("HF_REPO_ID", parsing.repo_id, "owner/name of the dataset; created when missing.")
    token: str = _env("HF_TOKEN", str, "A token that may write to it.", secret=True)
    endpoint: str = _env("HF_ENDPOINT", parsing.http_url, "The Hub.", "https://huggingface.co")
    private: bool = _env("HF_PRIVATE", parsing.flag, "1: a repo that is created is private.", "0")
    fast_transfer: bool = _env(
        "HF_HUB_ENABLE_HF_TRANSFER",
        parsing.flag,
        "1: upload as fast as the machine can (HF_XET_HIGH_PERFORMANCE on huggingface_hub 1.0 and later).",
        "0",
    )
    title: str = _env("DATASET_TITLE", parsing.line, "The dataset's name on its card.", "")
    license: str = _env("DATASET_LICENSE", parsing.license, "Its license on the card, e.g. cc-by-4.0.", "")


@dataclass(frozen=True)
class PlanSettings:
    """How episodes become chunks, and where the plan is kept."""

    state_url: str = _env(
        "STATE_URL", parsing.store_url, "Where plan and build records are kept: a folder or s3://...", ""
    )
    episodes_per_chunk: int = _env("EPISODES_PER_CHUNK", parsing.count, "Episodes in a new chunk.", "1000")
    languages: tuple[str, ...] = _env(
        "LANGUAGES", parsing.languages, "Narrows the languages, e.g. en,de; empty: all.", ""
    )
    max_wait_hours: float = _env(
        "PLAN_MAX_WAIT_HOURS", parsing.amount, "An automatic scan plans a part-filled chunk after this long.", "24"
    )


@dataclass(frozen=True)
class ShardSettings:
    """How rows become files.

    Attributes:
        scratch: a folder for one part at a time, where content does not go over Xet.
        kept: the folder in which files are kept after their upload, if `keep` says so.
    """

    scratch: str
    kept: str
    max_bytes: int = _env(
        "PARQUET_MAX_BYTES", parsing.count, "A chunk larger than this is split into parts.", "2147483648"
    )
    rowgroup_bytes: int = _env(
        "PARQUET_ROWGROUP_BYTES", parsing.at_most(MAX_ROWGROUP_BYTES), "Audio bytes in a row group.", "33554432"
    )
    settle_minutes: float = _env(
        "SETTLE_MINUTES",
        parsing.amount,
        "Missing audio beside younger metadata means that the upload still goes on.",
        "15",
    )
    keep: bool = _env("KEEP_SHARDS", parsing.flag, "1: keep the files in DAGSTER_HOME too.", "0")


_GROUPS: Mapping[Group, type] = {
    "r2": BucketSettings,
    "hub": HubSettings,
    "plan": PlanSettings,
    "shards": ShardSettings,
}


def _variables(group: type) -> dict[str, Variable]:
    """The variables of a group by its attributes' names."""
    return {attribute.name: attribute.metadata["variable"] for attribute in fields(group) if attribute.metadata}


VARIABLES: tuple[Variable, ...] = tuple(
    variable for group in _GROUPS.values() for variable in _variables(group).values()
)


@dataclass(frozen=True)
class PartialSettings:
    """What is set. `r2` and `hub` are None when a variable that they need is not set."""

    plan: PlanSettings
    shards: ShardSettings
    r2: BucketSettings | None
    hub: HubSettings | None

    @property
    def dataset(self) -> str | None:
        """owner/name of the dataset; None when it is not set."""
        return self.hub.repo_id if self.hub else None


@dataclass(frozen=True)
class ScanSettings(PartialSettings):
    """For what reads the bucket and the plan."""

    r2: BucketSettings


@dataclass(frozen=True)
class Settings(ScanSettings):
    """All settings, for what works with the bucket and the Hub."""

    hub: HubSettings


P = TypeVar("P", bound=PartialSettings)


def data_home(environ: Mapping[str, str]) -> Path:
    """The folder for the plan when STATE_URL is not set, for scratch files and for kept ones.

    It is in DAGSTER_HOME, so that plan and history are kept, and lost, together: with a history and no plan, chunks
    would be numbered anew.
    """
    home = environ.get("DAGSTER_HOME")
    return Path(home).expanduser() / "r2_hf_assets" if home else Path(".r2_hf_assets")


def hub_home() -> str:
    """The folder in which huggingface_hub and hf_xet keep what they need while they upload."""
    return os.environ.get("HF_HOME") or "~/.cache/huggingface"


def is_on(name: str) -> bool:
    """Whether a switch of huggingface_hub or hf_xet is on, as huggingface_hub itself reads one."""
    return os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")


def ca_bundle(environ: Mapping[str, str] | None = None) -> str:
    """The PEM file of certificate authorities for every client of the bucket.

    AWS_CA_BUNDLE, else SSL_CERT_FILE, else certifi's. The Hub's clients read SSL_CERT_FILE themselves: a bundle for a
    private S3 seldom holds the Hub's authority.

    Raises:
        SettingsError: the variable names no such file.
    """
    environ = os.environ if environ is None else environ
    for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):
        path = environ.get(name, "").strip()
        if path:
            _check_bundle(name, path)
            return path
    return certifi.where()


@cache
def _check_bundle(name: str, path: str) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except OSError:  # an SSLError is one
        raise SettingsError(f"settings: {name}={path!r} must name a file of PEM certificates") from None


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check the settings; the bucket's and the Hub's must be complete.

    Args:
        environ: the variables; the process's own when None. An empty value counts as not set.

    Raises:
        SettingsError: one line that names every variable that is missing or wrong.
    """
    return _load(Settings, environ, "r2", "hub")


def load_for_scan(environ: Mapping[str, str] | None = None) -> ScanSettings:
    """As `load`, but the Hub's may be missing."""
    return _load(ScanSettings, environ, "r2")


def load_partial(environ: Mapping[str, str] | None = None) -> PartialSettings:
    """As `load`, but the bucket's and the Hub's may be missing."""
    return _load(PartialSettings, environ)


def _load(kind: type[P], environ: Mapping[str, str] | None, *needs: Group) -> P:
    environ = os.environ if environ is None else environ
    missing: list[str] = []
    wrong: list[str] = []
    values: dict[Group, dict[str, Any]] = {}
    incomplete: set[Group] = set()
    for group, group_type in _GROUPS.items():
        values[group] = {}
        for attribute, variable in _variables(group_type).items():
            raw = environ.get(variable.name, "").strip() or variable.default
            if raw is None:
                incomplete.add(group)
                missing.append(variable.name)
                continue
            try:
                values[group][attribute] = variable.parse(raw)
            except ValueError as problem:
                shown = "" if variable.secret or "@" in raw else f"={raw!r}"
                wrong.append(f"{variable.name}{shown} {problem}")
    if wrong or incomplete.intersection(needs):
        # Also what other groups lack: .env is then filled in at one go.
        parts = [f"not set: {', '.join(missing)}"] if missing else []
        raise SettingsError(f"settings: {'; '.join(parts + wrong)} (put them into .env, see .env.example)")
    home = data_home(environ)
    values["plan"]["state_url"] = values["plan"]["state_url"] or str(home / "state")
    values["shards"]["scratch"] = str(home / "scratch")
    values["shards"]["kept"] = str(home / "shards")
    return kind(
        plan=PlanSettings(**values["plan"]),
        shards=ShardSettings(**values["shards"]),
        r2=None if "r2" in incomplete else BucketSettings(**values["r2"]),
        hub=None if "hub" in incomplete else HubSettings(**values["hub"]),
    )


def grid_languages(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The languages that are partitions. A wrong value gives all: `load` reports it before any work."""
    environ = os.environ if environ is None else environ
    try:
        return parsing.languages(environ.get("LANGUAGES", ""))
    except ValueError:
        return LANGUAGES
