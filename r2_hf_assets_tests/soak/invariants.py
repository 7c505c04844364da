"""The invariants that must hold when all runs have ended. Each function returns a line for each violation.

Rows are read back from the Hub with its own client, commits from the Hub's journal, files from the disk.
"""

import hashlib
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import obstore
import pyarrow.parquet as pq
from dagster import DagsterInstance

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.plan.check import check_plan
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.runs.history import recorded_digests
from r2_hf_assets.shards.builds import open_builds
from r2_hf_assets.shards.index import decode_header
from r2_hf_assets.shards.names import index_path, record_name
from r2_hf_assets.shards.record import decode
from r2_hf_assets.verdict import Severity
from r2_hf_assets_tests.soak.site import Site
from r2_hf_sandbox.hub.repos import Repo
from r2_hf_sandbox.samples.bucket import SampleSummary

# Dagster's own files in its home.
_DAGSTER_FILES = {
    "dagster.yaml",
    "history",
    "storage",
    "schedules",
    "logs",
    ".nux",
    ".telemetry",
    ".logs_queue",
    "r2_hf_assets",
}
_STATE_FILE = re.compile(
    r"state/plan/(index|identity|id|folders_\d{4}|amendments|amendment_\d{4}|[a-z]+/(chunk_\d{4,}|waiting))\.json"
    r"|state/builds/[a-z]+/chunk-\d{5}\.json|grid_languages\.txt"
)


@dataclass(frozen=True)
class Rows:
    """Counts of rows on the Hub and of those that should be there."""

    expected: int
    found: int
    lost: int
    double: int
    wrong: int


@contextmanager
def _dataset(site: Site) -> Iterator[Path]:
    """Download the Hub's head."""
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory(dir=site.folder) as folder:
        HfApi(endpoint=site.env["HF_ENDPOINT"], token=site.env["HF_TOKEN"]).snapshot_download(
            site.repo_id, repo_type="dataset", local_dir=folder, cache_dir=folder
        )
        yield Path(folder)


def rows_on_hub(site: Site, expected: SampleSummary) -> tuple[Rows, list[str]]:
    """Check that each good segment of the bucket is exactly once in the Hub's head, with its own bytes."""
    hashes = {row.key: row.sha256 for row in expected.rows}
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    with _dataset(site) as folder:
        for path in sorted(folder.glob("data/*/*.parquet")):
            for row in pq.ParquetFile(path).read(columns=["audio"]).column("audio").to_pylist():
                counts[row["path"]] += 1
                if hashes.get(row["path"]) != hashlib.sha256(row["bytes"]).hexdigest():
                    wrong.append(row["path"])
    lost = [key for key in hashes if key not in counts]
    double = [key for key, count in counts.items() if count > 1]
    broken = [f"lost: {key}" for key in lost] + [f"{counts[key]} times: {key}" for key in double]
    broken += [f"not the bytes of the bucket, or not expected: {key}" for key in wrong]
    return Rows(len(hashes), counts.total(), len(lost), len(double), len(wrong)), broken


def plan_intact(site: Site, before: dict[str, bytes]) -> list[str]:
    """Check that no manifest and no amendment of `before` has changed, and that the plan check passes."""
    now = read_manifests(site)
    broken = [f"the manifest {path} changed or is missing" for path, data in before.items() if now.get(path) != data]
    verdict = check_plan(site.plan())
    if not verdict.passed and verdict.severity is not Severity.WARN:
        broken.append(f"the plan check fails: {verdict.summary}")
    return broken


def read_manifests(site: Site) -> dict[str, bytes]:
    store = site.plan().store
    paths = [item["path"] for batch in obstore.list(store, "plan/") for item in batch]
    return {path: bytes(obstore.get(store, path).bytes()) for path in paths if "chunk_" in path or "amendment_" in path}


def commits(site: Site, planned: Sequence[ChunkRef], edited: Sequence[str] = ()) -> tuple[int, list[str]]:
    """Count commits of chunks; check that each chunk has one, of its own, and that no commit removed data.

    A chunk may have one more for each amendment, and for each of its episodes that was `edited` in the bucket, which
    a run before the refresh may have found. Only then may a commit remove a part.
    """
    makers: dict[tuple[str, int], list[str]] = {}
    allowed = Counter(chunk.name for chunk in planned)
    for chunk_name in _changes(site, planned, edited):
        allowed[chunk_name] += 1
    broken: list[str] = []
    count = 0
    for commit in Repo(site.hub_folder / "repos" / site.repo_id, site.repo_id).commits:
        chunks = set()
        for path, file in commit.changes.items():
            match = re.fullmatch(r"(?:data|metadata)/([a-z]+)/chunk-(\d{5})(-part-\d\d)?\.parquet", path)
            if match:
                chunks.add((match[1], int(match[2])))
            if match and file is None and allowed[match[1], int(match[2])] < 2:
                broken.append(f"commit {commit.oid} removed {path}")
        for chunk in chunks:
            makers.setdefault(chunk, []).append(commit.oid)
        of_log = all(path.startswith("metadata/amendments/") for path in commit.changes)
        if len(chunks) != 1 and commit.number > 0 and not of_log:
            broken.append(f"commit {commit.oid} ({commit.title}) has files of {len(chunks)} chunks")
        count += bool(chunks)
    for (language, number), made in makers.items():
        if len(made) > max(1, allowed[language, number]):
            broken.append(f"{language} chunk {number} was committed {len(made)} times: {', '.join(made)}")
    for extra in makers.keys() - {chunk.name for chunk in planned}:
        broken.append(f"{extra} was committed, but is not planned")
    return count, broken


def _changes(site: Site, planned: Sequence[ChunkRef], edited: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield the chunk of each amendment's target, once an amendment, and the chunk of each edit."""
    for amendment in site.plan().amendments():
        yield from {target.chunk for target in amendment.targets if target.chunk}
    if edited:
        for chunk in site.plan().read_many(ref.name for ref in planned):
            yield from (chunk.name for episode in edited if episode in chunk.episodes)


def history(instance: DagsterInstance, planned: Sequence[ChunkRef]) -> list[str]:
    """Check that each planned chunk is recorded with its digest for both assets."""
    broken = []
    for asset in (SHARDS, COMMIT):
        recorded = recorded_digests(instance, asset)
        broken += [
            f"{asset.to_user_string()} {chunk.language}|{chunk.number}: recorded for {recorded.get(name)}"
            for chunk in planned
            if recorded.get(name := chunk.name) != chunk.digest
        ]
    return broken


def build_records(site: Site, planned: Sequence[ChunkRef]) -> list[str]:
    """Check that each chunk has a record, and that no other file is beside the records."""
    settings = site.settings()
    store = open_builds(settings.plan, settings.r2).files.store
    listed = {item["path"] for batch in obstore.list(store) for item in batch}
    named = {f"{chunk.language}/{record_name(chunk.number)}": chunk for chunk in planned}
    broken = [f"{path}: the record is missing" for path in named.keys() - listed]
    for path in listed & named.keys():
        record = decode(bytes(obstore.get(store, path).bytes()))
        if record.digest != named[path].digest:
            broken.append(f"{path}: the record is of digest {record.digest!r}, planned is {named[path].digest}")
    return broken + [f"of no planned chunk: {path}" for path in listed - named.keys()]


def indexes(site: Site, expected: SampleSummary, planned: Sequence[ChunkRef]) -> list[str]:
    """Check that each chunk has an index, and that they hold exactly the rows and the rejects of the samples."""
    found: Counter[tuple[str, str, str | None]] = Counter()
    broken: list[str] = []
    with _dataset(site) as folder:
        paths = {index_path(*chunk.name): chunk for chunk in planned}
        on_hub = {str(path.relative_to(folder)) for path in folder.glob("metadata/*/*.parquet")}
        broken += [f"index missing: {path}" for path in paths.keys() - on_hub]
        broken += [f"index of no planned chunk: {path}" for path in on_hub - paths.keys()]
        for path in on_hub & paths.keys():
            with pq.ParquetFile(folder / path) as index:
                if (digest := decode_header(index.metadata.metadata).digest) != paths[path].digest:
                    broken.append(f"{path}: of digest {digest}, planned is {paths[path].digest}")
                lines = index.read(columns=["segment", "key", "reject_reason"]).to_pylist()
            levels = ("episode" if line["segment"] is None else "segment" for line in lines)
            found.update((level, line["key"], line["reject_reason"]) for level, line in zip(levels, lines, strict=True))
    wanted: Counter[tuple[str, str, str | None]] = Counter(("segment", row.key, None) for row in expected.rows)
    wanted.update((reject.level, reject.key, reject.reason) for reject in expected.rejects)
    broken += [f"the indexes lack {line}" for line in (wanted - found)]
    broken += [f"the indexes have too much: {line}" for line in (found - wanted)]
    return broken


def age_leftovers(site: Site, seconds: float = 120.0) -> None:
    """Age the files of killed processes: files that a running process may own are swept only after a minute."""
    for path in (*_own(site).rglob("*#*"), *_own(site).glob("scratch/*")):
        os.utime(path, (time.time() - seconds,) * 2)


def no_orphans(site: Site) -> list[str]:
    """Check for scratch files, temporary files beside the plan, and unknown files in DAGSTER_HOME."""
    unknown = {path.name for path in site.home.iterdir()} - _DAGSTER_FILES
    broken = [f"unknown in DAGSTER_HOME: {name}" for name in sorted(unknown)]
    files = [str(path.relative_to(_own(site))) for path in _own(site).rglob("*") if path.is_file()]
    return broken + [f"orphan: {path}" for path in files if not _STATE_FILE.fullmatch(path)]


def _own(site: Site) -> Path:
    return site.home / "r2_hf_assets"
