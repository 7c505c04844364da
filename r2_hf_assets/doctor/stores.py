"""STATE_URL: may it be written, and does writing there keep the promise that the plan rests on, that an object is
created by one writer and by no second one.

What is written is one empty object named .doctor-<random>, and it is deleted again. A folder that is not there yet is
not made.
"""

import os
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError

from r2_hf_assets.bucket.client import Store, ask, open_store
from r2_hf_assets.doctor.finding import Finding, fail, ok, warn
from r2_hf_assets.errors import PlanError, R2HfError
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import BucketSettings, PlanSettings

_NAME = "STATE_URL"
_ONCE = Retry(attempts=1)


def look_at_state(url: str, r2: BucketSettings | None) -> list[Finding]:
    """One finding about the place that STATE_URL gives."""
    if not _is_bucket(url):
        if not Path(url).is_dir():
            return [_judge_new_folder(Path(url))]
    elif r2 is None:
        return [warn(_NAME, f"{url} was not looked at: the settings of R2 are not complete")]
    try:
        refused = _try(open_store(url, r2))
    except R2HfError as error:
        return [fail(_NAME, f"{url} can't be written: {error}", "set STATE_URL to a place that may be written")]
    if refused:
        return [fail(_NAME, f"{url} {refused}", "set STATE_URL to a store that keeps If-None-Match, as R2 does")]
    return [ok(_NAME, f"{url} can be written, and by one writer alone")]


def look_at_plan(plan: PlanSettings, r2: BucketSettings) -> list[Finding]:
    """One finding: what the plan holds, and whether it is of this bucket."""
    if not _is_bucket(plan.state_url) and not Path(plan.state_url).is_dir():
        return [ok("plan", "none yet; r2-hf scan begins it")]
    store = open_plan(plan, r2)
    try:
        if not store.is_begun():
            return [ok("plan", "none yet; r2-hf scan begins it")]
        planned = store.planned()
    except PlanError as error:
        return [fail("plan", str(error))]
    languages = len({chunk.language for chunk in planned})
    return [ok("plan", f"{len(planned):,} chunks in {languages} languages, of this bucket")]


def _is_bucket(url: str) -> bool:
    return urlsplit(url).scheme == "s3"


def _judge_new_folder(folder: Path) -> Finding:
    there = next(parent for parent in folder.absolute().parents if parent.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return ok(_NAME, f"{folder} will be made")
    return fail(_NAME, f"{folder} is not there, and {there} may not be written", "make it, or set STATE_URL")


def _try(store: Store) -> str:
    """What is wrong with creating an object in it; "" when nothing is."""
    path = f".doctor-{uuid.uuid4().hex}"

    def create() -> None:
        obstore.put(store, path, b"", mode="create")

    ask(_ONCE, f"creating {path}", create, store)
    try:
        create()
        return "lets a second writer replace what the first one created"
    except (AlreadyExistsError, PreconditionError):
        return ""
    finally:
        ask(_ONCE, f"deleting {path}", lambda: obstore.delete(store, path), store)
