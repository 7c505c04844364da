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
from r2_hf_assets.settings import Settings, ShardSettings, hub_home, is_on

_GB = 10**9
# hf_xet keeps caches of some 100 MB (hub/upload_xet.py bounds them).
_HUB_HOME_BYTES = 5 * 10**8
# Descriptors besides the GET requests: metadata, parts, databases, libraries.
_OTHER_FILES = 256

# What the job stands on, by its name on PyPI.
_SHOWN = ("dagster", "pyarrow", "pycurl", "obstore", "huggingface_hub", "hf_xet")


def look_at_disks(settings: Settings) -> list[Finding]:
    """Findings about the folders of the Hub's clients, of scratch files and of kept shards, where each is used."""
    shards = settings.shards
    scratch, kept = _existing(Path(shards.scratch)), Path(shards.kept)
    found = [_judge_hub_home()]
    if shards.keep or is_on("HF_HUB_DISABLE_XET"):
        found.append(judge_scratch(scratch, shutil.disk_usage(scratch).free, shards))
    if not shards.keep and (size := _size_of(kept)):
        found.append(warn("shards", f"{_size(size)} at {kept} are read by nobody", f"delete it: rm -r {kept}"))
    return found


def _judge_hub_home() -> Finding:
    home = _existing(Path(hub_home()).expanduser())
    if not os.access(home, os.W_OK | os.X_OK):
        return fail("HF_HOME", f"{home} may not be written", "set HF_HOME to a folder that may")
    free = shutil.disk_usage(home).free
    if free < _HUB_HOME_BYTES:
        return warn("HF_HOME", f"{_size(free)} free at {home}", "free some, or set HF_HOME: uploads keep caches")
    return ok("HF_HOME", f"{_size(free)} free at {home}")


def judge_scratch(folder: Path, free: int, shards: ShardSettings) -> Finding:
    """Whether a part fits into `free` bytes before it goes to the Hub; with KEEP_SHARDS all parts stay."""
    seen = f"{_size(free)} free at {folder}; a part takes up to {_size(shards.max_bytes)} before it is uploaded"
    if free < shards.max_bytes:
        return fail("scratch", seen, "free some, put DAGSTER_HOME on a larger disk, or lower PARQUET_MAX_BYTES")
    if shards.keep:
        kept = f"{_size(free)} free at {folder}; KEEP_SHARDS keeps every shard: this grows with the dataset"
        return warn("scratch", kept, "unset KEEP_SHARDS unless you want the files")
    return ok("scratch", seen)


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
    return [judge_versions(have, wanted), *_transfer()]


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


def _transfer() -> list[Finding]:
    """How uploads will go. That a Hub has no Xet, only a build learns."""
    if not is_on("HF_HUB_DISABLE_XET"):
        return []
    seen = "HF_HUB_DISABLE_XET is set: uploads go over LFS by a scratch file, and repeat what the Hub holds"
    return [warn("upload", seen, "unset it")]


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


def _size_of(folder: Path) -> int:
    """Bytes of the files below it; 0 when it is not there."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
