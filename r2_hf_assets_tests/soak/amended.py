"""The invariants of amendments: removed content is in no later commit, the log has one copy, and restores.

Each function returns a line for each violation.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any

import pyarrow.parquet as pq
from dagster import DagsterInstance

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.plan.due import find_due
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.runs.history import recorded_digests
from r2_hf_assets.settings import load
from r2_hf_assets_tests.soak.amender import Removal
from r2_hf_assets_tests.soak.site import ROOT, Site
from r2_hf_sandbox.hub.history import Commit
from r2_hf_sandbox.hub.repos import Repo
from r2_hf_sandbox.samples.bucket import SampleSummary

COPY = re.compile(r"metadata/amendments/(\d{4})\.json")


def commits_of(site: Site) -> list[Commit]:
    folder = site.hub_folder / "repos" / site.repo_id
    return Repo(folder, site.repo_id).commits if (folder / "repo.json").exists() else []


def removed_stays_out(site: Site, removals: Sequence[Removal], bucket: SampleSummary) -> tuple[int, list[str]]:
    """Check every commit after a removal returned, or after its copy was published: no file that it added has it.

    Return also how many files of such commits were read.
    """
    published = _published(site)
    since = [
        min([at for at in (removal.commits, published.get(removal.word)) if at is not None], default=None)
        for removal in removals
    ]
    hashes = {row.sha256: row.key for row in bucket.rows}
    texts = {row.key: row.text for row in bucket.rows if row.text}
    broken, read = [], set()
    for commit in commits_of(site):
        gone = {
            key
            for removal, first in zip(removals, since, strict=True)
            if first is not None and commit.number >= first
            for key in removal.keys
        }
        if not gone:
            continue
        kept_texts = {text for key, text in texts.items() if key not in gone}
        gone_texts = {texts[key] for key in gone if key in texts} - kept_texts
        for path, file in commit.changes.items():
            if file is None or not path.endswith(".parquet"):
                continue
            read.add((commit.number, path))
            for row in _rows(site, commit.oid, path):
                what = _what_is_removed(row, gone, gone_texts, hashes)
                broken += [f"commit {commit.number} ({commit.title}) has {one} in {path}" for one in what]
    return len(read), broken


def _published(site: Site) -> dict[str, int]:
    """Return the number of the first commit after the copy of each removed word's amendment."""
    copies = {
        int(match[1]): commit.number + 1
        for commit in reversed(commits_of(site))
        for path in commit.changes
        if (match := COPY.fullmatch(path))
    }
    plan, first = site.plan(), dict[str, int]()
    for amendment in plan.amendments():
        for target in amendment.targets if amendment.kind == "remove" and amendment.number in copies else ():
            name = target.episode.rpartition("/")[2]
            word = target.episode + (f":{target.speaker}" if target.speaker else "")
            if target.segment is not None:
                word = f"{plan.prefix}{target.episode}/{name}_{target.segment:06d}.mp3"
            first.setdefault(word, copies[amendment.number])
    return first


def _what_is_removed(
    row: dict[str, Any], gone: Collection[str], gone_texts: Collection[str], hashes: dict[str, str]
) -> Iterator[str]:
    """Yield what of a row, of a part or of an index, is removed content."""
    audio = row.get("audio")
    if audio is not None:
        if audio["path"] in gone:
            yield f"the row {audio['path']}"
        if (key := hashes.get(hashlib.sha256(audio["bytes"]).hexdigest())) in gone:
            yield f"the audio of {key}"
    elif row["key"] in gone:
        if row["reject_reason"] != "removed":
            yield f"the entry {row['key']}"
        if any(row[name] is not None for name in ("text", "speaker_id", "audio_hash", "start")):
            yield f"the text or speaker of {row['key']}"
    if (row["text"] or "").removesuffix(" edited") in gone_texts:
        yield f"the text {row['text'][:30]!r}"


def _rows(site: Site, revision: str, path: str) -> list[dict[str, Any]]:
    """Return the rows of a file at a revision, read from the Hub."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=site.env["HF_ENDPOINT"], token=site.env["HF_TOKEN"])
    cache_dir = site.folder / "revisions"
    local = api.hf_hub_download(site.repo_id, path, revision=revision, repo_type="dataset", cache_dir=cache_dir)
    return _read(os.path.realpath(local))


@cache
def _read(path: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
    return rows


def log_copied(site: Site) -> list[str]:
    """Check that the Hub has the log of amendments, each entry added once, without its reason."""
    plan = site.plan()
    log = plan.amendments()
    added: dict[int, list[int]] = {}
    for commit in commits_of(site):
        for path in commit.changes:
            if match := COPY.fullmatch(path):
                added.setdefault(int(match[1]), []).append(commit.number)
    broken = [f"amendment {n} was copied by the commits {made}" for n, made in added.items() if len(made) > 1]
    broken += [f"amendment {one.number} is not on the Hub" for one in log if one.number not in added]
    broken += [f"amendment {n} is on the Hub, and not in the plan" for n in added.keys() - {one.number for one in log}]
    for amendment in log:
        state = plan._files.read_json(f"plan/amendment_{amendment.number:04d}.json")
        if state is None or state["n"] != amendment.number:
            broken.append(f"amendment {amendment.number} is only in the cache")
    return broken


def edits_arrived(site: Site, edits: dict[str, bytes], gone: Collection[str]) -> list[str]:
    """Check that the texts at the head are those of the changed metadata."""
    from huggingface_hub import HfApi

    head = commits_of(site)[-1].oid
    api = HfApi(endpoint=site.env["HF_ENDPOINT"], token=site.env["HF_TOKEN"])
    files = [path for path in api.list_repo_files(site.repo_id, repo_type="dataset") if path.startswith("metadata/")]
    rows = [row for path in files if path.endswith(".parquet") for row in _rows(site, head, path)]
    texts = {row["key"]: row["text"] for row in rows if row["segment"] is not None}
    broken = []
    for key, body in edits.items():
        folder, name = key.rpartition("/")[0], key.split("/")[-2]
        for number, entry in enumerate(json.loads(body)):
            audio = f"{folder}/{name}_{number:06d}.mp3"
            text = re.sub("[\ud800-\udfff]", "\ufffd", entry["text"])  # half of a character is repaired
            if audio not in gone and texts.get(audio) != text:
                broken.append(f"after a refresh {audio} has the text {texts.get(audio)!r}")
    return broken


def restores(site: Site) -> list[str]:
    """Restore plan and history from the Hub into an empty home, and compare them with the site's."""
    home = site.folder / "restored"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    shutil.copy(site.home / "dagster.yaml", home)
    changed = {"DAGSTER_HOME": str(home), "STATE_URL": str(home / "state")}
    done = subprocess.run(
        [sys.executable, "-m", "r2_hf_assets.cli", "restore"],
        cwd=ROOT,
        env=site.process_env() | changed,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        return [f"the restore ended with {done.returncode}: {done.stderr[-1000:]}"]
    settings = load(site.env | changed)
    plan = open_plan(settings.plan, settings.r2)
    before, after = site.plan().planned(), plan.planned()
    broken = [f"restored as {new}, planned was {old}" for old, new in zip(before, after, strict=False) if old != new]
    broken += [f"{len(after)} chunks restored of {len(before)}"] if len(after) != len(before) else []
    with DagsterInstance.from_config(str(home)) as instance:
        due = find_due(after, recorded_digests(instance, COMMIT))
    return broken + [f"due after the restore: {chunk}" for chunk in due]
