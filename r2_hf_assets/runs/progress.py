"""Progress by language and the pace of commits, from the plan and the history.

The pace covers the chunks that runs committed in the last two hours. Records of reconcile and import are left out.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import dagster as dg

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.dagster_internals import AssetPartitionStatus
from r2_hf_assets.partitions import grid_with, partition_key
from r2_hf_assets.plan.chunks import ChunkRef, Name
from r2_hf_assets.plan.due import find_due, in_grid
from r2_hf_assets.runs.history import commit_summaries, recorded_digests

_PACE_WINDOW_S = 2 * 3600.0
_PACE_MIN_CHUNKS = 3


@dataclass(frozen=True)
class LanguageProgress:
    """Counts of chunks; `failed` are due chunks whose last run failed.

    `built` counts recorded shards, committed or not; `next` is the first due partition; `hours` is the audio of the
    committed chunks except `hours_unknown` of them, which no run recorded. `rows` and `bytes` are theirs too, and
    `quota_wait_s` is how long their commits waited for the Hub's quota.
    """

    language: str
    planned: int
    episodes: int
    built: int
    committed: int
    failed: int
    due: int
    next: str | None
    hours: float = 0.0
    hours_unknown: int = 0
    rows: int = 0
    bytes: int = 0
    quota_wait_s: float = 0.0


@dataclass(frozen=True)
class Pace:
    """The pace of `chunks` committed in `hours_measured`; `hours_left` is the estimate for all due chunks."""

    episodes_per_hour: float
    hours_left: float
    chunks: int
    hours_measured: float


@dataclass(frozen=True)
class Progress:
    """Progress of each planned language of the grid in plan order, their total, and the pace if known.

    `left_out`: planned chunks by language that LANGUAGES excludes; no other figure counts them. `last_commit`: when the
    latest of the committed chunks was recorded, in Unix seconds.
    """

    languages: list[LanguageProgress]
    total: LanguageProgress
    pace: Pace | None
    left_out: dict[str, int]
    last_commit: float | None = None


def read_progress(
    instance: dg.DagsterInstance, chunks: Sequence[ChunkRef], languages: Collection[str], dataset: str | None = None
) -> Progress:
    """Return the progress of `chunks`, ordered by language; with `dataset`, only commits to it count."""
    planned = in_grid(chunks, languages)
    built, committed = recorded_digests(instance, SHARDS), recorded_digests(instance, COMMIT, dataset)
    failed = _failed(instance, planned)
    done = {c.name: c.episodes for c in planned if committed.get(c.name) == c.digest}
    commits = {commit.name: commit for commit in commit_summaries(instance) if commit.name in done}
    by_runs = [(commit.at, done[name]) for name, commit in commits.items() if commit.by_run]

    def count(language: str, chunks: Sequence[ChunkRef]) -> LanguageProgress:
        left = find_due(chunks, committed)
        recorded = [commits[chunk.name] for chunk in chunks if chunk.name in commits]
        known = [commit.hours for commit in recorded if commit.hours is not None]
        return LanguageProgress(
            language=language,
            planned=len(chunks),
            episodes=sum(chunk.episodes for chunk in chunks),
            built=len(chunks) - len(find_due(chunks, built)),
            committed=len(chunks) - len(left),
            failed=sum(chunk.name in failed for chunk in left),
            due=len(left),
            next=str(partition_key(*left[0].name)) if left else None,
            hours=round(sum(known, 0.0), 2),
            hours_unknown=len(chunks) - len(left) - len(known),
            rows=sum(commit.rows or 0 for commit in recorded),
            bytes=sum(commit.bytes or 0 for commit in recorded),
            quota_wait_s=sum((commit.quota_wait_s for commit in recorded), 0.0),
        )

    return Progress(
        languages=[count(language, list(group)) for language, group in groupby(planned, lambda chunk: chunk.language)],
        total=count("total", planned),
        pace=pace_of(by_runs, sum(chunk.episodes for chunk in find_due(planned, committed)), time.time()),
        left_out=dict(Counter(chunk.language for chunk in chunks if chunk.language not in languages)),
        last_commit=max((commit.at for commit in commits.values()), default=None),
    )


def pace_of(commits: Iterable[tuple[float, int]], episodes_due: int, now: float) -> Pace | None:
    """Return the pace of the last two hours from (Unix seconds, episodes) of each commit; None if too few."""
    recent = [(at, episodes) for at, episodes in commits if now - at < _PACE_WINDOW_S]
    if len(recent) < _PACE_MIN_CHUNKS:
        return None
    # Measured from the first commit, whose own chunk has no known start.
    first = min(at for at, _ in recent)
    seconds, episodes = now - first, sum(episodes for at, episodes in recent if at > first)
    if not episodes or seconds <= 0:
        return None
    per_hour = episodes / seconds * 3600
    return Pace(round(per_hour, 1), round(episodes_due / per_hour, 2), len(recent), round(seconds / 3600, 2))


def _failed(instance: dg.DagsterInstance, planned: Sequence[ChunkRef]) -> set[Name]:
    names = {str(partition_key(*chunk.name)): chunk.name for chunk in planned}
    failed = set()
    for asset in (SHARDS, COMMIT):
        statuses = instance.get_status_by_partition(asset, list(names), grid_with(planned)) or {}
        failed |= {names[key] for key, status in statuses.items() if status is AssetPartitionStatus.FAILED}
    return failed
