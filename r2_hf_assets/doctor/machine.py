"""This machine and its shell: disk, file descriptors, versions, and variables that set traps. Nothing is asked of the
network, and nothing is written."""

import os
import platform
import resource
import shutil
import stat
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from r2_hf_assets.doctor.finding import Finding, fail, ok, warn
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.settings import Settings, hub_home

_GB = 10**9
# An episode's audio, as docs/scale.md reckons: 50 TB / 3,000,000. What a chunk really takes, only its build tells.
EPISODE_BYTES = 17 * 10**6
# What hf_xet keeps while it uploads.
_HUB_HOME_BYTES = 10**9
# Descriptors besides the GET requests: metadata, parts, databases, libraries.
_OTHER_FILES = 256

# What the job stands on, by its name on PyPI.
_SHOWN = ("dagster", "pyarrow", "pycurl", "obstore", "huggingface_hub", "hf_xet")


def look_at_disks(settings: Settings) -> list[Finding]:
    """Findings about the folders that files are built in, and the one that Hub's clients use."""
    scratch, home = _existing(Path(settings.shards.scratch)), _existing(Path(hub_home()).expanduser())
    found = [judge_disk(scratch, shutil.disk_usage(scratch).free, settings)]
    free = shutil.disk_usage(home).free
    if not os.access(home, os.W_OK | os.X_OK):
        found.append(fail("HF_HOME", f"{home} may not be written", "set HF_HOME to a folder that may"))
    elif free < _HUB_HOME_BYTES:
        found.append(warn("HF_HOME", f"{_size(free)} free at {home}", "free some, or set HF_HOME: uploads keep caches"))
    else:
        found.append(ok("HF_HOME", f"{_size(free)} free at {home}"))
    return found


def judge_disk(folder: Path, free: int, settings: Settings) -> Finding:
    """Whether the chunks that are in flight will fit into `free` bytes."""
    one = settings.plan.episodes_per_chunk * EPISODE_BYTES
    chunk = f"a chunk of {settings.plan.episodes_per_chunk:,} episodes"
    seen = f"{_size(free)} free at {folder}; {chunk} takes some {_size(one)}"
    advice = "free some, put DAGSTER_HOME on a larger disk, or lower EPISODES_PER_CHUNK for new chunks"
    if free < one:
        return fail("disk", seen, advice)
    # `r2-hf process` builds one more while a commit is made.
    at_once = 1 + (settings.hub.chunks_per_commit if settings.hub else 1)
    if free < one * at_once:
        return warn("disk", f"{seen}, and {at_once} are in flight", advice)
    return ok("disk", seen)


def look_at_files(workers: int) -> list[Finding]:
    """The limit of open files, against DOWNLOAD_WORKERS."""
    return [judge_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0], workers)]


def judge_files(limit: int, workers: int) -> Finding:
    """Every GET in flight is a descriptor. `limit` negative: there is none."""
    if limit < 0 or limit == resource.RLIM_INFINITY:
        return ok("open files", f"no limit, for {workers} GET requests")
    seen, wanted = f"{limit} allowed, for {workers} GET requests", workers + _OTHER_FILES
    if limit <= workers:
        return fail("open files", seen, f"ulimit -n {wanted}, or lower DOWNLOAD_WORKERS")
    if limit < wanted:
        return warn("open files", seen, f"ulimit -n {wanted}, or lower DOWNLOAD_WORKERS")
    return ok("open files", seen)


def look_at_versions() -> list[Finding]:
    """Python and the libraries, against what this package asks for."""
    needs = [Requirement(line) for line in _requirements()]
    wanted = {need.name.replace("-", "_").lower(): need for need in needs if not need.marker}
    have = {name: version_of(name) for name in {*wanted, *_SHOWN}}
    return [judge_versions(have, wanted), *_transfer(have)]


def _requirements() -> list[str]:
    try:
        return metadata.requires("r2_hf_assets") or []
    except metadata.PackageNotFoundError:  # it runs from its folder
        return []


def judge_versions(have: Mapping[str, str | None], wanted: Mapping[str, Requirement]) -> Finding:
    """One finding that shows the versions that matter, and names those that don't fit."""
    wrong = [
        f"{need} is needed, {have.get(name) or 'none'} is here"
        for name, need in sorted(wanted.items())
        if (version := have.get(name)) is None or not need.specifier.contains(version, prereleases=True)
    ]
    shown = ", ".join(f"{name} {have.get(name) or 'none'}" for name in _SHOWN)
    seen = f"Python {platform.python_version()}, {shown}"
    if wrong:
        return fail("versions", f"{'; '.join(wrong)} ({seen})", "make the environment anew from requirements.lock")
    return ok("versions", seen)


def _transfer(have: Mapping[str, str | None]) -> list[Finding]:
    """How uploads will go."""
    old = (have.get("huggingface_hub") or "").startswith("0.")
    if not old and os.environ.get("HF_HUB_DISABLE_XET", "").upper() in ("1", "TRUE", "YES", "ON"):
        return [
            warn("upload", "HF_HUB_DISABLE_XET is set: uploads go over LFS and repeat what the Hub holds", "unset it")
        ]
    if not old and have.get("hf_xet") is None:
        return [warn("upload", "hf_xet is not here: uploads go over LFS, slower", "pip install hf_xet")]
    return []


def version_of(name: str) -> str | None:
    """The installed version of a distribution."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def look_at_shell(environ: Mapping[str, str], env_file: Path) -> list[Finding]:
    """Findings about .env and DAGSTER_MODULE_NAME, as they are once .env was read."""
    found = [judge_env_file(env_file)]
    if module := environ.get("DAGSTER_MODULE_NAME", ""):
        seen = f"DAGSTER_MODULE_NAME={module} is exported: `dagster dev` would hang without a word"
        found.append(warn("shell", seen, "put the line DAGSTER_MODULE_NAME= into .env"))
    return found


def judge_env_file(path: Path) -> Finding:
    """.env holds secrets: it is for its owner's eyes."""
    if not path.is_file():
        return ok(".env", "none in this folder; the settings come from the environment")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return warn(".env", f"others may read or write it (mode {mode:o})", "chmod 600 .env")
    return ok(".env", "for its owner's eyes only")


def judge_languages(grid: tuple[str, ...], last_scan: Mapping[str, object]) -> Finding:
    """LANGUAGES, against what the last scan found in the bucket (its metadata; empty when there was none)."""
    seen = f"all {len(LANGUAGES)}" if grid == LANGUAGES else ", ".join(grid[:12]) + (", ..." if len(grid) > 12 else "")
    left_out = last_scan.get("folders_left_out")
    if isinstance(left_out, Mapping) and left_out:
        named = ", ".join(f"{name} ({count} folders)" for name, count in list(left_out.items())[:5])
        return warn("LANGUAGES", f"{seen}; the last scan left out {named}", "add them if they should be in the dataset")
    fits = last_scan.get("languages_that_fit")
    if grid == LANGUAGES and isinstance(fits, str) and fits.count(",") < len(LANGUAGES) - 1 and fits != "LANGUAGES=":
        return ok("LANGUAGES", f"{seen}; {fits} would make the UI's grid as narrow as the bucket")
    return ok("LANGUAGES", seen)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    absolute = folder.absolute()
    return next(path for path in (absolute, *absolute.parents) if path.is_dir())


def _size(count: float) -> str:
    return f"{count / _GB:,.1f} GB"
