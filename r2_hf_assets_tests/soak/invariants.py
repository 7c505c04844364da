"""The invariants that must hold when all runs have ended. Each function returns a line for each violation.

Rows are read back from the Hub with its own client, commits from the Hub's journal, files from the disk.
"""

import hashlib
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
from dagster import DagsterInstance

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.plan.check import check_plan
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.runs.history import recorded_digests
from r2_hf_assets.shards.builds import open_builds
from r2_hf_assets.shards.names import record_name
from r2_hf_assets.shards.record import decode
from r2_hf_assets.verdict import Severity
from r2_hf_assets_tests.soak.site import Site
from r2_hf_sandbox.hub.repos import Repo
from r2_hf_sandbox.samples.bucket import SampleSummary
from r2_hf_sandbox.samples.episode import ExpectedReject

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
    r"state/plan/(index|identity|id|folders_\d{4}|[a-z]+/(chunk_\d{4,}|waiting))\.json"
    r"|state/builds/[a-z]+/chunk-\d{5}(\.json|\.rejects\.parquet)"
)


@dataclass(frozen=True)
class Rows:
    """Counts of rows on the Hub and of those that should be there."""

    expected: int
    found: int
    lost: int
    double: int
    wrong: int


def rows_on_hub(site: Site, expected: SampleSummary) -> tuple[Rows, list[str]]:
    """Check that each good segment of the bucket is exactly once in the Hub's head, with its own bytes."""
    from huggingface_hub import HfApi

    hashes = {row.key: row.sha256 for row in expected.rows}
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(dir=site.folder) as folder:
        HfApi(endpoint=site.env["HF_ENDPOINT"], token=site.env["HF_TOKEN"]).snapshot_download(
            site.repo_id, repo_type="dataset", local_dir=folder, cache_dir=folder
        )
        for path in sorted(Path(folder).glob("data/*/*.parquet")):
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
    """Check that no manifest of `before` has changed, and that the plan check passes."""
    now = read_manifests(site)
    broken = [f"the manifest {path} changed or is missing" for path, data in before.items() if now.get(path) != data]
    verdict = check_plan(site.plan())
    if not verdict.passed and verdict.severity is not Severity.WARN:
        broken.append(f"the plan check fails: {verdict.summary}")
    return broken


def read_manifests(site: Site) -> dict[str, bytes]:
    store = site.plan().store
    paths = [item["path"] for batch in obstore.list(store, "plan/") for item in batch]
    return {path: bytes(obstore.get(store, path).bytes()) for path in paths if "chunk_" in path}


def commits(site: Site, planned: Sequence[ChunkRef]) -> tuple[int, list[str]]:
    """Count commits of chunks; check that each chunk has one, of its own, and that no commit removed data."""
    makers: dict[tuple[str, int], list[str]] = {}
    broken: list[str] = []
    count = 0
    for commit in Repo(site.hub_folder / "repos" / site.repo_id, site.repo_id).commits:
        chunks = set()
        for path, file in commit.changes.items():
            match = re.fullmatch(r"data/([a-z]+)/chunk-(\d{5})(-part-\d\d)?\.parquet", path)
            if match:
                chunks.add((match[1], int(match[2])))
            if match and file is None:
                broken.append(f"commit {commit.oid} removed {path}")
        for chunk in chunks:
            makers.setdefault(chunk, []).append(commit.oid)
        if len(chunks) != 1 and commit.number > 0:
            broken.append(f"commit {commit.oid} ({commit.title}) has files of {len(chunks)} chunks")
        count += bool(chunks)
    for (language, number), made in makers.items():
        if len(made) > 1:
            broken.append(f"{language} chunk {number} was committed {len(made)} times: {', '.join(made)}")
    for extra in makers.keys() - {chunk.name for chunk in planned}:
        broken.append(f"{extra} was committed, but is not planned")
    return count, broken


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


def build_records(site: Site, expected: Sequence[ExpectedReject], planned: Sequence[ChunkRef]) -> list[str]:
    """Check that each chunk has a record, and that the ledgers hold exactly the rejects of the samples."""
    settings = site.settings()
    store = open_builds(settings.plan, settings.r2).files.store
    listed = {item["path"] for batch in obstore.list(store) for item in batch}
    named: set[str] = set()
    broken: list[str] = []
    rejects: Counter[tuple[str, str, str]] = Counter()
    for chunk in planned:
        path = f"{chunk.language}/{record_name(chunk.number)}"
        if path not in listed:
            broken.append(f"{path}: the record is missing")
            continue
        record = decode(bytes(obstore.get(store, path).bytes()))
        if record.digest != chunk.digest:
            broken.append(f"{path}: the record is of digest {record.digest!r}, planned is {chunk.digest}")
        named.add(path)
        if record.rejects:
            named.add(ledger := f"{chunk.language}/{record.rejects.name}")
            table = pq.read_table(pa.BufferReader(bytes(obstore.get(store, ledger).bytes())))
            rejects.update((row["level"], row["key"], row["reason"]) for row in table.to_pylist())
    broken += [f"no record names {path}" for path in listed - named]
    wanted = Counter((reject.level, reject.key, reject.reason) for reject in expected)
    rejects = Counter({reject: count for reject, count in rejects.items() if reject[2] != "no_usable_segment"})
    broken += [f"the ledgers lack {reject}" for reject in (wanted - rejects)]
    broken += [f"the ledgers have too much: {reject}" for reject in (rejects - wanted)]
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
