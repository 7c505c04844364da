"""Every environment variable, once: its name, default, meaning and check.

`load` turns an environment into frozen dataclasses, one a part of the flow, and answers everything that is missing or
wrong in one line before any work is done. Nothing else in the data plane reads the environment, so the command line,
Dagster and tests all build the same objects. Secrets never appear in a repr or in an error.
"""

import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import certifi

from r2_hf_assets import parsing
from r2_hf_assets.errors import SettingsError
from r2_hf_assets.languages import LANGUAGES

Group = Literal["r2", "hub", "plan", "shards"]

# Arrow's `binary` column has 32-bit offsets, so one row group's audio must stay below 2 GiB.
MAX_ROWGROUP_BYTES = 2**31 - 2**20


@dataclass(frozen=True)
class BucketSettings:
    """Where the episodes lie and how many requests may be in flight."""

    endpoint_url: str
    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    name: str
    prefix: str = "processed/"
    workers: int = 128
    region: str = "auto"
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True)
class HubSettings:
    """The dataset repo and how to reach it."""

    repo_id: str
    token: str = field(repr=False)
    endpoint: str = "https://huggingface.co"
    private: bool = False
    fast_transfer: bool = False
    title: str = ""
    license: str = ""


@dataclass(frozen=True)
class PlanSettings:
    """How episodes become chunks, and where the plan is kept."""

    state_url: str
    episodes_per_chunk: int = 1000
    languages: tuple[str, ...] = LANGUAGES
    max_wait_hours: float = 24.0


@dataclass(frozen=True)
class ShardSettings:
    """How rows become files.

    Attributes:
        scratch: a folder for one part at a time, where content does not go over Xet.
        keep: whether the files are kept after their upload, in the folder `kept`.
    """

    scratch: str
    kept: str
    max_bytes: int = 2 * 2**30
    rowgroup_bytes: int = 32 * 2**20
    settle_minutes: float = 15.0
    keep: bool = False


@dataclass(frozen=True)
class Settings:
    """All settings. `r2` and `hub` are None when nobody asked for them and they are not complete."""

    plan: PlanSettings
    shards: ShardSettings
    r2: BucketSettings | None = None
    hub: HubSettings | None = None

    @property
    def dataset(self) -> str | None:
        """owner/name of the dataset; None when it is not set."""
        return self.hub.repo_id if self.hub else None


@dataclass(frozen=True)
class Variable:
    """One environment variable. `default` None means that it must be set when its group is needed."""

    name: str
    group: Group
    attribute: str
    default: str | None
    parse: Callable[[str], Any]
    help: str
    secret: bool = False


VARIABLES: tuple[Variable, ...] = (
    Variable(
        "R2_ENDPOINT_URL", "r2", "endpoint_url", None, parsing.endpoint, "https://<account>.r2.cloudflarestorage.com"
    ),
    Variable("R2_ACCESS_KEY_ID", "r2", "access_key_id", None, parsing.token, "Read access is enough.", secret=True),
    Variable("R2_SECRET_ACCESS_KEY", "r2", "secret_access_key", None, parsing.token, "Its secret.", secret=True),
    Variable("R2_BUCKET", "r2", "name", None, parsing.bucket, "The bucket that holds the episodes."),
    Variable(
        "R2_REGION", "r2", "region", "auto", parsing.region, "auto for R2; elsewhere the bucket's, e.g. eu-central-1."
    ),
    Variable(
        "R2_SESSION_TOKEN", "r2", "session_token", "", parsing.token, "The token of temporary credentials.", secret=True
    ),
    Variable("HF_REPO_ID", "hub", "repo_id", None, parsing.repo_id, "owner/name of the dataset; created when missing."),
    Variable("HF_TOKEN", "hub", "token", None, str, "A token that may write to it.", secret=True),
    Variable("EPISODES_PER_CHUNK", "plan", "episodes_per_chunk", "1000", parsing.count, "Episodes in a new chunk."),
    Variable("DOWNLOAD_WORKERS", "r2", "workers", "128", parsing.count, "GET requests in flight."),
    Variable(
        "PARQUET_MAX_BYTES",
        "shards",
        "max_bytes",
        "2147483648",
        parsing.count,
        "A chunk larger than this is split into parts.",
    ),
    Variable(
        "PARQUET_ROWGROUP_BYTES",
        "shards",
        "rowgroup_bytes",
        "33554432",
        parsing.at_most(MAX_ROWGROUP_BYTES),
        "Audio bytes in a row group.",
    ),
    Variable(
        "HF_HUB_ENABLE_HF_TRANSFER",
        "hub",
        "fast_transfer",
        "0",
        parsing.flag,
        "1: upload as fast as the machine can (HF_XET_HIGH_PERFORMANCE on huggingface_hub 1.0 and later).",
    ),
    Variable(
        "PROCESSED_PREFIX", "r2", "prefix", "processed/", parsing.prefix, "Key prefix above the language folders."
    ),
    Variable("LANGUAGES", "plan", "languages", "", parsing.languages, "Narrows the languages, e.g. en,de; empty: all."),
    Variable(
        "STATE_URL",
        "plan",
        "state_url",
        "",
        parsing.store_url,
        "Where plan and build records are kept: a folder or s3://...",
    ),
    Variable(
        "SETTLE_MINUTES",
        "shards",
        "settle_minutes",
        "15",
        parsing.amount,
        "Missing audio beside younger metadata means that the upload still goes on.",
    ),
    Variable(
        "PLAN_MAX_WAIT_HOURS",
        "plan",
        "max_wait_hours",
        "24",
        parsing.amount,
        "An automatic scan plans a part-filled chunk after this long.",
    ),
    Variable("HF_PRIVATE", "hub", "private", "0", parsing.flag, "1: a repo that is created is private."),
    Variable("HF_ENDPOINT", "hub", "endpoint", "https://huggingface.co", parsing.http_url, "The Hub."),
    Variable("DATASET_TITLE", "hub", "title", "", parsing.line, "The dataset's name on its card."),
    Variable("DATASET_LICENSE", "hub", "license", "", parsing.license, "Its license on the card, e.g. cc-by-4.0."),
    Variable("KEEP_SHARDS", "shards", "keep", "0", parsing.flag, "1: keep the files in DAGSTER_HOME too."),
)


def data_home(environ: Mapping[str, str]) -> Path:
    """The folder for the plan when STATE_URL is not set, for scratch files and for kept ones.

    It lies in DAGSTER_HOME, so that plan and history live and die together: a history without its plan would number
    chunks anew.
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
    """The PEM file of the authorities by which every client of the bucket checks certificates.

    AWS_CA_BUNDLE, else SSL_CERT_FILE, else certifi's. The Hub's clients read SSL_CERT_FILE themselves: a bundle that is
    made for a private S3 seldom holds the Hub's authority.

    Raises:
        SettingsError: what the variable names is no such file.
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


def load(environ: Mapping[str, str] | None = None, needs: Iterable[Group] = ("r2", "hub")) -> Settings:
    """Read and check the settings.

    Args:
        environ: the variables; the process's own when None. An empty value counts as not set.
        needs: the groups with required variables that must be complete.

    Raises:
        SettingsError: one line that names every variable that is missing or wrong.
    """
    environ = os.environ if environ is None else environ
    required = set(needs)
    missing: list[str] = []
    wrong: list[str] = []
    values: dict[str, dict[str, Any]] = {"r2": {}, "hub": {}, "plan": {}, "shards": {}}
    incomplete: set[str] = set()
    for variable in VARIABLES:
        raw = environ.get(variable.name, "").strip() or variable.default
        if raw is None:
            incomplete.add(variable.group)
            missing.append(variable.name)
            continue
        try:
            values[variable.group][variable.attribute] = variable.parse(raw)
        except ValueError as problem:
            shown = "" if variable.secret or "@" in raw else f"={raw!r}"
            wrong.append(f"{variable.name}{shown} {problem}")
    if wrong or required & incomplete:
        # Once it fails, everything is named: whoever fills in .env wants to do it once.
        parts = [f"not set: {', '.join(missing)}"] if missing else []
        raise SettingsError(f"settings: {'; '.join(parts + wrong)} (put them into .env, see .env.example)")
    home = data_home(environ)
    values["plan"]["state_url"] = values["plan"]["state_url"] or str(home / "state")
    values["shards"]["scratch"] = str(home / "scratch")
    values["shards"]["kept"] = str(home / "shards")
    return Settings(
        plan=PlanSettings(**values["plan"]),
        shards=ShardSettings(**values["shards"]),
        r2=None if "r2" in incomplete else BucketSettings(**values["r2"]),
        hub=None if "hub" in incomplete else HubSettings(**values["hub"]),
    )


def at_load(name: str, environ: Mapping[str, str] | None = None) -> Any:
    """A variable that shapes the definitions. A wrong value gives the default: `load` names it before any work."""
    environ = os.environ if environ is None else environ
    (variable,) = (found for found in VARIABLES if found.name == name)
    default = variable.default or ""
    try:
        return variable.parse(environ.get(name, "").strip() or default)
    except ValueError:
        return variable.parse(default)
