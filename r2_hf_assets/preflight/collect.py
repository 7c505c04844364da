"""Checks of settings, shell and STATE_URL; runs all collectors of findings in parallel.

Each collector has a thread, and all have one deadline, so an endpoint that drops packets delays no other. Nothing is
changed, but for an empty object .preflight-<random> that is created in STATE_URL and removed.
"""

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError

from r2_hf_assets.background import Background
from r2_hf_assets.bucket.client import Store, call_with_retry, open_store
from r2_hf_assets.errors import R2HfError, SettingsError, first_line
from r2_hf_assets.preflight import Finding, fail, ok, warn
from r2_hf_assets.preflight.bucket import check_bucket
from r2_hf_assets.preflight.hub import check_as_reader, check_hub
from r2_hf_assets.preflight.limits import check_limits
from r2_hf_assets.preflight.misspelt import find_misspelt
from r2_hf_assets.retry import ONCE, Retry
from r2_hf_assets.settings import VARIABLES, BucketSettings, PartialSettings, Settings, is_enabled, load, load_partial

Collector = Callable[[], list[Finding]]

# Longer than the clients' timeouts (PATIENCE_S), for what these don't bound, such as a DNS query.
_DEADLINE_S = 12.0
# R2 accepts one write a second to a key, and else responds with 429.
_SECOND_WRITE = Retry(attempts=2, base=2.0)


def collect_findings(environ: Mapping[str, str], env_file: Path, *, as_reader: bool = False) -> list[Finding]:
    """Return all findings about the job of `environ`, which has the variables of `env_file` already.

    `as_reader`: also read the dataset as its users do, which takes minutes.
    """
    from r2_hf_assets.preflight.dagster_home import check_home  # loads Dagster

    setting, settings = check_settings(environ)
    collectors: dict[str, Collector] = {
        "settings": lambda: [setting],
        "shell": partial(check_shell, environ, env_file),
        "DAGSTER_HOME": partial(check_home, environ.get("DAGSTER_HOME", "")),
    }
    if settings and settings.r2:
        collectors["STATE_URL"] = partial(check_state, settings.plan.state_url, settings.r2)
        collectors["bucket"] = partial(check_bucket, settings.r2)
    if settings and settings.hub:
        collectors["hub"] = partial(check_hub, settings.hub)
    if isinstance(settings, Settings):
        collectors["limits"] = partial(check_limits, settings)
    findings = run(collectors)
    if as_reader and settings and settings.hub:
        findings += check_as_reader(settings.hub)  # in this thread: Ctrl-C ends its process, and removes its files
    secrets = [environ.get(variable.name, "").strip() for variable in VARIABLES if variable.secret]
    return [mask(finding, secrets) for finding in findings]


def run(collectors: Mapping[str, Collector], deadline_s: float = _DEADLINE_S) -> list[Finding]:
    """Return the findings of all `collectors`, in their order, within the deadline."""
    with closing(Background(len(collectors), "preflight")) as threads:
        futures = {name: threads.submit(collector) for name, collector in collectors.items()}
        wait(futures.values(), deadline_s)
    findings: list[Finding] = []
    for name, future in futures.items():
        if not future.done():
            advice = "busy machine: try again; else check address, network and proxy"
            findings.append(fail(name, f"no result within {deadline_s:g} s", advice))
        elif error := future.exception():
            findings.append(fail(name, f"the check failed: {first_line(error)}"))
        else:
            findings += future.result()
    return findings


def mask(finding: Finding, secrets: Sequence[str]) -> Finding:
    """Return the finding in one line, with `***` for every secret that a server or a library quotes."""
    seen, advice = " ".join(finding.seen.split()), " ".join(finding.advice.split())  # advice may quote an error too
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) > 3:  # a shorter one may be part of a word
            seen, advice = seen.replace(secret, "***"), advice.replace(secret, "***")
    return replace(finding, seen=seen, advice=advice)


def check_settings(environ: Mapping[str, str]) -> tuple[Finding, PartialSettings | None]:
    """Return what is missing or wrong, and the settings, in which incomplete groups are None."""
    settings: PartialSettings | None = None
    try:
        settings = load_partial(environ)  # fails where a value is wrong
        given = sum(bool(environ.get(variable.name, "").strip()) for variable in VARIABLES)
        return ok("settings", f"complete: {given} given, defaults for {len(VARIABLES) - given}"), load(environ)
    except SettingsError as error:
        advice = "then run it again: checks that need them were skipped"
        return fail("settings", str(error).removeprefix("settings: "), advice), settings


def check_shell(environ: Mapping[str, str], env_file: Path) -> list[Finding]:
    """Return findings `settings` and `shell` for misspelt and harmful variables, `.env` if other users may read it."""
    findings = [
        warn("settings", f"{name} is no setting", f"did you mean {meant}?")
        for name, meant in find_misspelt(environ, env_file)
    ]
    if env_file.is_file() and (mode := env_file.stat().st_mode & 0o777) & 0o077:
        findings.append(warn(".env", f"others may read or write it (mode {mode:o})", "chmod 600 .env"))
    if module := environ.get("DAGSTER_MODULE_NAME"):
        seen = f"DAGSTER_MODULE_NAME={module} is exported: `dagster dev` hangs without a message"
        findings.append(warn("shell", seen, "put the line DAGSTER_MODULE_NAME= into .env"))
    if is_enabled("HF_HUB_DISABLE_XET"):
        seen = "HF_HUB_DISABLE_XET is set: uploads go over LFS by a scratch file, without deduplication"
        findings.append(warn("shell", seen, "unset it"))
    return findings


def check_state(url: str, r2: BucketSettings) -> list[Finding]:
    """Return finding `STATE_URL`: whether it can be written, and whether a create fails on an existing object."""
    if urlsplit(url).scheme != "s3" and not Path(url).exists():
        parent = next(folder for folder in Path(url).absolute().parents if folder.exists())
        if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
            return [ok("STATE_URL", f"{url} will be created")]
        return [fail("STATE_URL", f"{url} does not exist, and {parent} is not writable", "create it, or set STATE_URL")]
    try:
        if _rejects_second_create(open_store(url, r2)):
            return [ok("STATE_URL", f"{url} can be written, and rejects a second create")]
    except R2HfError as error:
        return [fail("STATE_URL", f"{url} can't be written: {error}", "set STATE_URL to a writable place")]
    seen = f"{url} lets a second writer overwrite a created object"
    return [fail("STATE_URL", seen, "set STATE_URL to a store with If-None-Match, such as R2")]


def _rejects_second_create(store: Store) -> bool:
    path = f".preflight-{uuid.uuid4().hex}"
    create = partial(obstore.put, store, path, b"", mode="create")
    call_with_retry(ONCE, f"creating {path}", create, store)
    try:
        call_with_retry(_SECOND_WRITE, f"creating {path} again", create, store)
        return False
    except (AlreadyExistsError, PreconditionError):
        return True
    finally:
        call_with_retry(ONCE, f"deleting {path}", partial(obstore.delete, store, path), store)
