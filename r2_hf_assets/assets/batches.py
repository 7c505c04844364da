"""Due chunks as runs: one run each, or with CHUNKS_PER_COMMIT one for several that lie side by side in the grid.

Dagster starts a run for one partition, or for a range: a rectangle of the grid, from a language to a language and from
a chunk to a chunk, in the order in which the chunks became partitions. So a batch is a row of due chunks of one
language without a gap: it never takes a cell that is not due, or not planned. Backfills of the UI cut their ranges
themselves.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dagster import DagsterInstance
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from r2_hf_assets.assets.partitions import PLAN_CHUNK, chunk_key, partition_key
from r2_hf_assets.plan.chunks import Planned


@dataclass(frozen=True)
class Batch:
    """Chunks that one run takes, at least one."""

    chunks: tuple[Planned, ...]

    @property
    def keys(self) -> list[str]:
        """en|chunk_0007 and so on, in the order of the grid."""
        return [str(partition_key(chunk.language, chunk.number)) for chunk in self.chunks]

    @property
    def partition_key(self) -> str | None:
        """The partition of a run of one chunk: it is started as such, and not as a range."""
        return partition_key(self.chunks[0].language, self.chunks[0].number) if len(self.chunks) == 1 else None

    @property
    def tags(self) -> dict[str, str]:
        """What makes a run one of this range; nothing for one chunk. A RunRequest takes these and no partition_key."""
        if len(self.chunks) == 1:
            return {}
        return {ASSET_PARTITION_RANGE_START_TAG: self.keys[0], ASSET_PARTITION_RANGE_END_TAG: self.keys[-1]}


def batches(chunks: Iterable[Planned], limit: int, order: Sequence[str]) -> list[Batch]:
    """Chunks in batches of up to `limit`, in the order of each one's first chunk among `chunks`.

    Args:
        order: the chunk partitions as Dagster lists them, e.g. chunk_0000, chunk_0001; a range follows this order.
            Those of `chunks` must be among them.
    """
    listed = list(chunks)
    if limit == 1:
        return [Batch((chunk,)) for chunk in listed]
    place = {key: position for position, key in enumerate(order)}
    rows: dict[str, list[Planned]] = defaultdict(list)
    for chunk in listed:
        rows[chunk.language].append(chunk)
    found: list[list[Planned]] = []
    for row in rows.values():
        last = -1
        for chunk in sorted(row, key=lambda chunk: place[chunk_key(chunk.number)]):
            position = place[chunk_key(chunk.number)]
            if position == last + 1 and last >= 0 and len(found[-1]) < limit:
                found[-1].append(chunk)
            else:
                found.append([chunk])
            last = position
    rank = {chunk: number for number, chunk in enumerate(listed)}
    return [Batch(tuple(batch)) for batch in sorted(found, key=lambda batch: min(rank[chunk] for chunk in batch))]


def chunk_order(instance: DagsterInstance) -> Sequence[str]:
    """The chunk partitions in Dagster's order."""
    return instance.get_dynamic_partitions(PLAN_CHUNK)
