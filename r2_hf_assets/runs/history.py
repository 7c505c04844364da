"""Progress, read from Dagster's materialization history: which chunk each partition was last materialized for.

The digest is the materialization's data version, because that is the one tag that Dagster indexes: the latest one of
every partition is a single query. That of hub_commit reads `<digest>@<owner/name>`, since a commit counts for the
dataset that it was made in and for no other. Events of release 0.1.0 name the digest alone, and the dataset in their
metadata.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    EventLogRecord,
    TableMetadataValue,
)

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.dagster_internals import DATA_VERSION_TAG
from r2_hf_assets.partitions import partition_key, read_key
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.plan.due import DUE_AGAIN, find_lost, is_digest
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.shards.record import ShardFile

# Records read by one query: some kilobytes each, so a few megabytes in memory at once.
PAGE = 1000

_COMMIT_URL = re.compile(r"/datasets/([^/]+/[^/]+)/commit/")

# By DAGSTER_HOME and event id: an event of 0.1.0 never changes, and reading one takes a millisecond.
_dataset_of: dict[tuple[str, int], str | None] = {}

Recorded = tuple[Name, AssetMaterialization, EventLogRecord]


def data_version(digest: str, dataset: str | None = None) -> str:
    """Return what is recorded for a chunk: its digest, and of a commit the dataset that it was made in."""
    return f"{digest}@{dataset}" if dataset and is_digest(digest) else digest


def recorded_digests(
    instance: DagsterInstance, asset: AssetKey, dataset: str | None = None, keys: Sequence[str] | None = None
) -> dict[Name, str | None]:
    """Return the digest of the latest materialization of these partitions, or of all, by one query.

    With `dataset`, commits to any other are left out.
    """
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        asset, DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG], asset_partitions=keys
    )
    digests: dict[Name, str | None] = {}
    unnamed: set[str] = set()
    for key, found in tags.items():
        digest, _, named = (found.get(DATA_VERSION_TAG) or "").partition("@")
        if dataset is None or named in ("", dataset):
            digests[read_key(key)] = digest or None
        if dataset is not None and asset == COMMIT and not named and is_digest(digest):
            unnamed.add(key)
    for name, made_in in _named_in_metadata(instance, unnamed).items() if unnamed else ():
        if made_in not in (None, dataset):
            del digests[name]
    return digests


def _named_in_metadata(instance: DagsterInstance, keys: Collection[str]) -> dict[Name, str | None]:
    """Return the dataset that each partition's latest commit names in its metadata; None where it names none."""
    home, ids = instance.root_directory, latest_ids(instance, keys)
    for _, event, record in _by_id(instance, [found for found in ids.values() if (home, found) not in _dataset_of]):
        uri = event.metadata.get("dagster/uri")
        named = _COMMIT_URL.search(str(uri.value)) if uri is not None else None
        _dataset_of[home, record.storage_id] = named[1] if named else None
    return {read_key(key): _dataset_of.get((home, found)) for key, found in ids.items()}


def latest_ids(instance: DagsterInstance, keys: Collection[str] | None = None) -> dict[str, int]:
    """Return the event id of hub_commit's latest materialization of these partitions, or of all: one query."""
    storage = instance.event_log_storage
    ids = storage.get_latest_storage_id_by_partition(COMMIT, DagsterEventType.ASSET_MATERIALIZATION)
    return {key: found for key, found in ids.items() if keys is None or key in keys}


def latest_commits(instance: DagsterInstance, keys: Collection[str] | None = None) -> Iterator[Recorded]:
    """Return hub_commit's latest materialization of these partitions, or of all; a query for every PAGE of them."""
    return _by_id(instance, latest_ids(instance, keys).values())


def _by_id(instance: DagsterInstance, ids: Iterable[int]) -> Iterator[Recorded]:
    ordered = sorted(ids)
    for first in range(0, len(ordered), PAGE):
        wanted = AssetRecordsFilter(COMMIT, storage_ids=ordered[first : first + PAGE])
        yield from by_partition(instance.fetch_materializations(wanted, limit=PAGE).records)


def by_partition(records: Iterable[EventLogRecord]) -> Iterator[Recorded]:
    """Yield materializations of partitions, each with its (language, chunk number)."""
    for record in records:
        event = record.asset_materialization
        if event is not None and event.partition is not None:
            yield read_key(event.partition), event, record


@dataclass(frozen=True)
class Loss:
    """The record that a chunk is due again: its event id, and when it was written, in Unix seconds."""

    event: int
    at: float


def losses(instance: DagsterInstance, recorded: Mapping[Name, str | None]) -> dict[Name, Loss]:
    """Return the record of each chunk that hub_commit's `recorded_digests` name as due again."""
    keys = {str(partition_key(*name)) for name, digest in recorded.items() if digest == DUE_AGAIN}
    found = latest_commits(instance, keys) if keys else ()
    return {name: Loss(record.storage_id, record.timestamp) for name, _, record in found}


def files_of(event: AssetMaterialization) -> tuple[ShardFile, ...] | None:
    """Return the files that a materialization names, "" for an unknown SHA-256; None when it does not say."""
    found = event.metadata.get("files")
    if not isinstance(found, TableMetadataValue):
        return () if found is not None else None  # a table of no rows is recorded as a word
    return tuple(_shard_file(row.data) for row in found.records)


def _shard_file(row: Mapping[str, Any]) -> ShardFile:
    sha256 = row["sha256"]
    return ShardFile(row["file"].rsplit("/", 1)[-1], row["rows"], row["bytes"], "" if sha256 == "none" else sha256)


def committed_files(instance: DagsterInstance) -> dict[Name, tuple[ShardFile, ...] | None]:
    """Return the files that the latest commit of every partition names."""
    return {name: files_of(event) for name, event, _ in latest_commits(instance)}


def lost_chunks(instance: DagsterInstance, plan: PlanStore) -> list[Name]:
    """Return the chunks that were built or committed, and that the plan does not hold."""
    # The history comes first: what it knows was planned by then, also when a scan beside this one goes on planning.
    recorded = [recorded_digests(instance, asset) for asset in (SHARDS, COMMIT)]
    planned = [(language, number) for language, numbers in plan.numbers().items() for number in numbers]
    return sorted({name for digests in recorded for name in find_lost(planned, digests)})
