"""Progress by language, from the plan and the history: a handful of queries, and one more for every thousand chunks
that are committed."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import groupby

from dagster import AssetKey, DagsterInstance

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.assets.history import Commit, commits_by_chunk, recorded_digests
from r2_hf_assets.assets.pace import Pace, pace
from r2_hf_assets.assets.partitions import chunk_partitions, partition_key
from r2_hf_assets.dagster_internals import AssetPartitionStatus
from r2_hf_assets.plan.chunks import Planned
from r2_hf_assets.plan.due import due, in_grid

Recorded = Mapping[tuple[str, int], str | None]
Commits = Mapping[tuple[str, int], Commit]


@dataclass(frozen=True)
class LanguageProgress:
    """How far a language is, in chunks. `failed` are those of the due ones whose last run failed.

    `built` counts chunks whose shards are recorded, committed or not; `next` is the first due partition; `hours` of
    audio are those of the committed chunks, but for `hours_unknown` of them, which no run recorded.
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


@dataclass(frozen=True)
class Progress:
    """Every language of the plan that is in the grid, in the plan's order; their sum; and the pace, where it can be
    told. `left_out`: planned chunks by language that LANGUAGES leaves out; no other figure counts them."""

    languages: list[LanguageProgress]
    total: LanguageProgress
    pace: Pace | None
    left_out: dict[str, int]


def overall(
    instance: DagsterInstance,
    everything: Iterable[Planned],
    languages: Collection[str],
    dataset: str | None = None,
) -> Progress:
    """How far everything is.

    Args:
        everything: the whole plan, ordered by language.
        languages: the grid's, as LANGUAGES says.
        dataset: commits count that were made to this one; None counts all.
    """
    planned, left_out = in_grid(everything, languages)
    built, committed = recorded_digests(instance, SHARDS), recorded_digests(instance, COMMIT, dataset)
    commits = commits_by_chunk(instance, COMMIT)
    rows = by_language(planned, built, committed, _failed(instance, planned), commits)
    left = due(planned, committed)
    done = {(c.language, c.number): c.episodes for c in planned} if commits else {}
    for chunk in left:
        done.pop((chunk.language, chunk.number), None)
    made = ((commits[name].at, episodes) for name, episodes in done.items() if name in commits and commits[name].by_run)
    found = pace(made, sum(chunk.episodes for chunk in left), time.time())
    return Progress(rows, summed(rows), found, dict(left_out))


def by_language(
    planned: Iterable[Planned],
    built: Recorded,
    committed: Recorded,
    failed: Collection[tuple[str, int]],
    commits: Commits | None = None,
) -> list[LanguageProgress]:
    """The counts of `overall`. Pure; `planned` is ordered by language."""
    found = []
    for language, group in groupby(planned, lambda chunk: chunk.language):
        chunks = list(group)
        left = due(chunks, committed)
        undone = {chunk.number for chunk in left}
        hours = [_hours(commits or {}, chunk) for chunk in chunks if chunk.number not in undone]
        found.append(
            LanguageProgress(
                language=language,
                planned=len(chunks),
                episodes=sum(chunk.episodes for chunk in chunks),
                built=len(chunks) - len(due(chunks, built)),
                committed=len(chunks) - len(left),
                failed=sum((chunk.language, chunk.number) in failed for chunk in left),
                due=len(left),
                hours=round(sum((known for known in hours if known is not None), 0.0), 2),
                hours_unknown=hours.count(None),
                next=str(partition_key(language, left[0].number)) if left else None,
            )
        )
    return found


def summed(rows: Sequence[LanguageProgress]) -> LanguageProgress:
    """All languages in one line."""
    counts = {
        field.name: sum(getattr(row, field.name) for row in rows)
        for field in fields(LanguageProgress)
        if field.name not in ("language", "next", "hours")
    }
    first = next((row.next for row in rows if row.next), None)
    return LanguageProgress(
        language="total", hours=round(sum((row.hours for row in rows), 0.0), 2), next=first, **counts
    )


def _hours(commits: Commits, chunk: Planned) -> float | None:
    commit = commits.get((chunk.language, chunk.number))
    return commit.hours if commit else None


def _failed(instance: DagsterInstance, planned: Sequence[Planned]) -> set[tuple[str, int]]:
    keys = {str(partition_key(c.language, c.number)): (c.language, c.number) for c in planned}
    return {keys[key] for asset in (SHARDS, COMMIT) for key in _failed_of(instance, asset, list(keys))}


def _failed_of(instance: DagsterInstance, asset: AssetKey, keys: Sequence[str]) -> list[str]:
    statuses = instance.get_status_by_partition(asset, keys, chunk_partitions) or {}
    return [key for key, status in statuses.items() if status is AssetPartitionStatus.FAILED]
