"""The Hub's limits: files and commits of the dataset now, and with the chunks that are planned but not committed.

The figures are those of huggingface.co/docs/hub/storage-limits in November 2026, and may have changed since. All are
recommendations. docs/guide.md has them as a table, with the prices of storage.

Two requests: the repo's information, which lists every file, and the number of commits. A chunk that is to come counts
with as many files as those of its language have on average.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.client import BRANCH
from r2_hf_assets.hub.errors import classify
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.plural import plural
from r2_hf_assets.preflight import Finding, ok, warn
from r2_hf_assets.preflight.hub import getter
from r2_hf_assets.retry import ONCE
from r2_hf_assets.settings import HubSettings, Settings
from r2_hf_assets.shards.names import DATA, METADATA, is_index, parse_path

FOLDER_FILES = 10_000
REPO_FILES = 100_000
# The page says that a repo becomes slow "after a few thousand commits".
COMMITS = 3_000
# Of a free account, by repo; paid ones have more. The Hub's response to one commit too many names the limit.
COMMITS_AN_HOUR = 128
# A warning comes when a limit is this much used up.
_NEAR = 0.8
_LARGER_CHUNKS = "raise EPISODES_PER_CHUNK for what is not planned yet (guide, Hub limits)"


@dataclass(frozen=True)
class RepoUse:
    """The paths of the repo's files, and its number of commits."""

    files: tuple[str, ...] = ()
    commits: int = 0


def check_limits(settings: Settings) -> list[Finding]:
    """Return findings `files` and `commits`; none if the Hub does not respond, which is the finding `hub`."""
    if (use := _read_use(settings.hub)) is None:
        return []
    planned = _read_plan(settings)
    return [check_files(use, planned), check_commits(use, planned)]


def _read_plan(settings: Settings) -> set[Name]:
    """Return the planned chunks; none for a plan that does not exist, or that can't be read (finding STATE_URL)."""
    url = settings.plan.state_url
    if urlsplit(url).scheme != "s3" and not Path(url).exists():
        return set()  # opening it would create the folder
    try:
        return set(replace(open_plan(settings.plan, settings.r2), retry=ONCE).names())
    except R2HfError:
        return set()


def _read_use(hub: HubSettings) -> RepoUse | None:
    get, url = getter(hub), f"{hub.endpoint}/api/datasets/{hub.repo_id}"
    try:
        info = get(url)
        if info.status_code == 404:
            return RepoUse()
        history = get(f"{url}/commits/{BRANCH}?limit=1")
        files = tuple(str(sibling["rfilename"]) for sibling in info.json()["siblings"])
        return RepoUse(files, int(history.headers["X-Total-Count"]))
    except Exception as error:  # a KeyError: another response than the Hub's
        if classify(error) is None and not isinstance(error, OSError | ValueError | LookupError | TypeError):
            raise
        return None


def check_files(use: RepoUse, planned: Iterable[Name]) -> Finding:
    """Check the fullest folder and all files, now and when every planned chunk is committed."""
    now = Counter(path.rpartition("/")[0] for path in use.files)
    committed = Counter(name for path in use.files if not is_index(path) and (name := parse_path(path)))
    average = committed.total() / len(committed) if committed else 1.0
    to_come = Counter(language for language, _ in set(planned) - committed.keys())
    later = now.copy()
    for language, chunks in to_come.items():
        own = [files for name, files in committed.items() if name[0] == language]
        later[f"{DATA}/{language}"] += math.ceil(chunks * (sum(own) / len(own) if own else average))
        later[f"{METADATA}/{language}"] += chunks
    (folder, files), *_ = later.most_common(1) or [("", 0)]
    seen = f"{now[folder]:,} in the fullest folder ({folder or 'the root'}), {now.total():,} in all"
    if to_come:
        seen += f"; with {plural(to_come.total(), 'chunk')} to come {files:,} and {later.total():,}"
    if files < _NEAR * FOLDER_FILES and later.total() < _NEAR * REPO_FILES:
        return ok("files", seen)
    advice = f"the Hub wants fewer than {FOLDER_FILES:,} and {REPO_FILES:,}: raise PARQUET_MAX_BYTES, or "
    return warn("files", seen, advice + _LARGER_CHUNKS)


def check_commits(use: RepoUse, planned: Iterable[Name]) -> Finding:
    """Check the number of commits, and say how long the quota makes those take that are to come."""
    to_come = len(set(planned) - {parse_path(path) for path in use.files})
    seen = f"{use.commits:,} so far"
    if to_come:
        hours = to_come / COMMITS_AN_HOUR
        wait = f"at least {hours:,.0f} hours by" if hours > 1 else "within"
        seen += f"; {plural(to_come, 'chunk')} to come, {wait} the quota of {COMMITS_AN_HOUR} an hour"
    if use.commits + to_come < _NEAR * COMMITS:
        return ok("commits", seen)
    return warn("commits", seen, f"a repo becomes slow after a few thousand commits: {_LARGER_CHUNKS}")
