"""Progress by language, from the plan and the history: a handful of queries however many chunks there are."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from dagster import AssetKey, DagsterInstance
from dagster._core.storage.partition_status_cache import AssetPartitionStatus

from r2_hf_assets.assets.history import recorded_digests
from r2_hf_assets.assets.launch import COMMIT, SHARDS
from r2_hf_assets.assets.partitions import chunk_partitions, partition_key
from r2_hf_assets.plan.chunks import Planned
from r2_hf_assets.plan.due import due

Recorded = Mapping[tuple[str, int], str | None]


@dataclass(frozen=True)
class LanguageProgress:
    """How far a language is, in chunks. `failed` are those of the due ones whose last run failed.

    `built` counts chunks whose shards are recorded, committed or not; `next` is the first due partition.
    """

    language: str
    planned: int
    episodes: int
    built: int
    committed: int
    failed: int
    due: int
    next: str | None


def progress(instance: DagsterInstance, planned: Sequence[Planned]) -> list[LanguageProgress]:
    """Every language of the plan, in the plan's order."""
    built, committed = recorded_digests(instance, SHARDS), recorded_digests(instance, COMMIT)
    return by_language(planned, built, committed, _failed(instance, planned))


def by_language(
    planned: Iterable[Planned], built: Recorded, committed: Recorded, failed: Collection[tuple[str, int]]
) -> list[LanguageProgress]:
    """The counts of `progress`. Pure; `planned` is ordered by language."""
    found = []
    for language, group in groupby(planned, lambda chunk: chunk.language):
        chunks = list(group)
        left = due(chunks, committed)
        found.append(
            LanguageProgress(
                language=language,
                planned=len(chunks),
                episodes=sum(chunk.episodes for chunk in chunks),
                built=len(chunks) - len(due(chunks, built)),
                committed=len(chunks) - len(left),
                failed=sum((chunk.language, chunk.number) in failed for chunk in left),
                due=len(left),
                next=str(partition_key(language, left[0].number)) if left else None,
            )
        )
    return found


def _failed(instance: DagsterInstance, planned: Sequence[Planned]) -> set[tuple[str, int]]:
    keys = {str(partition_key(c.language, c.number)): (c.language, c.number) for c in planned}
    return {keys[key] for asset in (SHARDS, COMMIT) for key in _failed_of(instance, asset, list(keys))}


def _failed_of(instance: DagsterInstance, asset: AssetKey, keys: Sequence[str]) -> list[str]:
    statuses = instance.get_status_by_partition(asset, keys, chunk_partitions) or {}
    return [key for key, status in statuses.items() if status is AssetPartitionStatus.FAILED]
