"""Collects the facts about settings, shell and STATE_URL, and runs all collectors in parallel.

Each collector has a thread of its own, and all have one deadline, so an endpoint that swallows packets delays no other.
Nothing is changed; in STATE_URL an empty object .preflight-<random> is made and removed.
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
from r2_hf_assets.errors import R2HfError, SettingsError
from r2_hf_assets.preflight import Finding, fail, first_line, ok, warn
from r2_hf_assets.preflight.bucket import check_bucket
from r2_hf_assets.preflight.hub import check_hub
from r2_hf_assets.retry import ONCE
from r2_hf_assets.settings import VARIABLES, BucketSettings, PartialSettings, is_enabled, load, load_partial

Collector = Callable[[], list[Finding]]

# Clients give up before (PATIENCE_S) and say why; this is for what they can't bound, such as looking up a name.
_DEADLINE_S = 12.0


def find_all(environ: Mapping[str, str], env_file: Path) -> list[Finding]:
    """Every finding about the job that `environ` describes; `env_file` is in it already."""
    from r2_hf_assets.preflight.dagster_home import check_home  # the one module that loads Dagster

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
    secrets = [environ.get(variable.name, "").strip() for variable in VARIABLES if variable.secret]
    return [mask(finding, secrets) for finding in run(collectors)]


def run(collectors: Mapping[str, Collector], deadline_s: float = _DEADLINE_S) -> list[Finding]:
    """The findings of all, in the order of `collectors`, within the deadline."""
    with closing(Background(len(collectors), "preflight")) as threads:
        futures = {name: threads.submit(collector) for name, collector in collectors.items()}
        wait(futures.values(), deadline_s)
    findings: list[Finding] = []
    for name, future in futures.items():
        if not future.done():
            advice = "busy machine: try again; else check address, network and proxy"
            findings.append(fail(name, f"no answer within {deadline_s:g} s", advice))
        elif error := future.exception():
            findings.append(fail(name, f"could not be looked at: {first_line(error)}"))
        else:
            findings += future.result()
    return findings


def mask(finding: Finding, secrets: Sequence[str]) -> Finding:
    """The finding in one line, with `***` for every secret that a server or a library quotes in it."""
    seen = " ".join(finding.seen.split())
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) > 3:  # a shorter one would be found inside of words
            seen = seen.replace(secret, "***")
    return replace(finding, seen=seen)


def check_settings(environ: Mapping[str, str]) -> tuple[Finding, PartialSettings | None]:
    """What is missing or wrong; and the settings, in which groups that are not complete are None."""
    settings: PartialSettings | None = None
    try:
        settings = load_partial(environ)  # None stays where a value is wrong
        given = sum(bool(environ.get(variable.name, "").strip()) for variable in VARIABLES)
        return ok("settings", f"complete: {given} given, defaults for {len(VARIABLES) - given}"), load(environ)
    except SettingsError as error:
        advice = "then look again: what needs them was not looked at"
        return fail("settings", str(error).removeprefix("settings: "), advice), settings


def check_shell(environ: Mapping[str, str], env_file: Path) -> list[Finding]:
    """Findings `.env`, when others may read it, and `shell`, for each variable that is easily left set."""
    found: list[Finding] = []
    if env_file.is_file() and (mode := env_file.stat().st_mode & 0o777) & 0o077:
        found.append(warn(".env", f"others may read or write it (mode {mode:o})", "chmod 600 .env"))
    if module := environ.get("DAGSTER_MODULE_NAME"):
        seen = f"DAGSTER_MODULE_NAME={module} is exported: `dagster dev` hangs without a word"
        found.append(warn("shell", seen, "put the line DAGSTER_MODULE_NAME= into .env"))
    if is_enabled("HF_HUB_DISABLE_XET"):
        seen = "HF_HUB_DISABLE_XET is set: uploads go over LFS by a scratch file, and repeat what the Hub holds"
        found.append(warn("shell", seen, "unset it"))
    return found


def check_state(url: str, r2: BucketSettings) -> list[Finding]:
    """Finding `STATE_URL`: can it be written; is an object created by one writer alone, on which the plan rests."""
    if urlsplit(url).scheme != "s3" and not Path(url).exists():
        there = next(folder for folder in Path(url).absolute().parents if folder.exists())
        if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            return [ok("STATE_URL", f"{url} will be made")]
        return [fail("STATE_URL", f"{url} is not there, and {there} may not be written", "make it, or set STATE_URL")]
    try:
        if _creates_once(open_store(url, r2)):
            return [ok("STATE_URL", f"{url} can be written, and by one writer alone")]
    except R2HfError as error:
        return [fail("STATE_URL", f"{url} can't be written: {error}", "set STATE_URL to a place that may be written")]
    seen = f"{url} lets a second writer replace what the first one created"
    return [fail("STATE_URL", seen, "set STATE_URL to a store that keeps If-None-Match, as R2 does")]


def _creates_once(store: Store) -> bool:
    path = f".preflight-{uuid.uuid4().hex}"
    create = partial(obstore.put, store, path, b"", mode="create")
    call_with_retry(ONCE, f"creating {path}", create, store)
    try:
        create()
        return False
    except (AlreadyExistsError, PreconditionError):
        return True
    finally:
        call_with_retry(ONCE, f"deleting {path}", partial(obstore.delete, store, path), store)
