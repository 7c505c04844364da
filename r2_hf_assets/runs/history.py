"""Progress, read from Dagster's materialization history: the chunk digest that each partition was last recorded for.

The digest is the data version, a tag that Dagster returns for all partitions in one query. hub_commit's version is
`<digest>@<owner/name>`, because a commit counts only for the dataset that it was made in. Events of release 0.1.0 have
the digest alone, and the dataset in their metadata.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from sqlalchemy import select

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.dagster_internals import DATA_VERSION_TAG, SqlEventLogStorage, SqlEventLogStorageTable
from r2_hf_assets.partitions import partition_key, read_key
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.plan.due import DUE_AGAIN, find_unplanned, is_digest
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.shards.names import path_in_repo
from r2_hf_assets.shards.record import ShardFile

PAGE = 1000  # records per query, some kilobytes each
# Metadata key: the seconds that a commit waited for the Hub's quota.
QUOTA_WAIT = "quota_wait_seconds"

_COMMIT_URL = re.compile(r"/datasets/([^/]+/[^/]+)/commit/")

# Cache by DAGSTER_HOME and event id, for events of 0.1.0, whose metadata must be read.
_dataset_of: dict[tuple[str, int], str | None] = {}

Recorded = tuple[Name, dg.AssetMaterialization, dg.EventLogRecord]


def data_version(digest: str, dataset: str | None = None) -> str:
    """Return the data version of a chunk: its digest and, for a commit, the dataset."""
    return f"{digest}@{dataset}" if dataset and is_digest(digest) else digest


def recorded_digests(
    instance: dg.DagsterInstance, asset: dg.AssetKey, dataset: str | None = None, keys: Sequence[str] | None = None
) -> dict[Name, str | None]:
    """Return the digest of the latest materialization of these partitions, or of all, by one query.

    With `dataset`, commits to other datasets are left out.
    """
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        asset, dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG], asset_partitions=keys
    )
    digests: dict[Name, str | None] = {}
    without_dataset: set[str] = set()
    for key, values in tags.items():
        digest, _, named = (values.get(DATA_VERSION_TAG) or "").partition("@")
        if dataset is None or named in ("", dataset):
            digests[read_key(key)] = digest or None
        if dataset is not None and asset == COMMIT and not named and is_digest(digest):
            without_dataset.add(key)
    for name, made_in in _named_in_metadata(instance, without_dataset).items() if without_dataset else ():
        if made_in not in (None, dataset):
            del digests[name]
    return digests


def _named_in_metadata(instance: dg.DagsterInstance, keys: Collection[str]) -> dict[Name, str | None]:
    """Return the dataset in the metadata of each partition's latest commit, None where it has none."""
    home, ids = instance.root_directory, latest_ids(instance, keys)
    for commit in _summaries(instance, [event for event in ids.values() if (home, event) not in _dataset_of]):
        named = _COMMIT_URL.search(commit.uri or "")
        _dataset_of[home, commit.event] = named[1] if named else None
    return {read_key(key): _dataset_of.get((home, event)) for key, event in ids.items()}


def latest_ids(instance: dg.DagsterInstance, keys: Collection[str] | None = None) -> dict[str, int]:
    """Return the event id of hub_commit's latest materialization of these partitions, or of all: one query."""
    storage = instance.event_log_storage
    ids = storage.get_latest_storage_id_by_partition(COMMIT, dg.DagsterEventType.ASSET_MATERIALIZATION)
    return {key: event_id for key, event_id in ids.items() if keys is None or key in keys}


def latest_commits(instance: dg.DagsterInstance, keys: Collection[str] | None = None) -> Iterator[Recorded]:
    """Return hub_commit's latest materialization of these partitions, or of all, by a query per PAGE."""
    return _by_id(instance, latest_ids(instance, keys).values())


def _by_id(instance: dg.DagsterInstance, ids: Iterable[int]) -> Iterator[Recorded]:
    ordered = sorted(ids)
    for first in range(0, len(ordered), PAGE):
        records = dg.AssetRecordsFilter(COMMIT, storage_ids=ordered[first : first + PAGE])
        yield from by_partition(instance.fetch_materializations(records, limit=PAGE).records)


@dataclass(frozen=True)
class CommitSummary:
    """A few values of a hub_commit materialization: its event id, its time in Unix seconds, and from the metadata the
    rows, bytes, hours of audio and URI, None where it has none; `by_run` is False for records of reconcile and import.

    `quota_wait_s`: how long the commit waited for the Hub's quota.
    """

    event: int
    name: Name
    at: float
    hours: float | None
    uri: str | None
    by_run: bool
    rows: int | None = None
    bytes: int | None = None
    quota_wait_s: float = 0.0


def commit_summaries(instance: dg.DagsterInstance) -> Iterator[CommitSummary]:
    """Return a summary of each partition's latest commit, by a query per PAGE: a tenth of latest_commits' time."""
    return _summaries(instance, latest_ids(instance).values())


def _summaries(instance: dg.DagsterInstance, ids: Iterable[int]) -> Iterator[CommitSummary]:
    storage, table = instance.event_log_storage, SqlEventLogStorageTable.c
    assert isinstance(storage, SqlEventLogStorage), "Dagster has no other"
    ordered = sorted(ids)
    for first in range(0, len(ordered), PAGE):
        page = select(table.id, table.partition, table.event).where(table.id.in_(ordered[first : first + PAGE]))
        with storage.index_connection() as connection:
            rows = connection.execute(page).all()
        yield from (_summary(event_id, read_key(key), json.loads(stored)) for event_id, key, stored in rows)


def _summary(event_id: int, name: Name, stored: Mapping[str, Any]) -> CommitSummary:
    materialization = stored["dagster_event"]["event_specific_data"]["materialization"]
    metadata = {entry["label"]: entry["entry_data"] for entry in materialization["metadata_entries"]}
    hours, uri = metadata.get("hours"), metadata.get("dagster/uri")
    rows, size, waited = (metadata.get(label) for label in ("dagster/row_count", "bytes", QUOTA_WAIT))
    return CommitSummary(
        event_id,
        name,
        stored["timestamp"],
        float(hours["value"]) if hours else None,
        uri["text"] if uri else None,
        "recorded_by" not in metadata,
        int(rows["value"]) if rows else None,
        int(size["value"]) if size else None,
        float(waited["value"]) if waited else 0.0,
    )


def by_partition(records: Iterable[dg.EventLogRecord]) -> Iterator[Recorded]:
    """Yield materializations of partitions, each with its (language, chunk number)."""
    for record in records:
        event = record.asset_materialization
        if event is not None and event.partition is not None:
            yield read_key(event.partition), event, record


@dataclass(frozen=True)
class Loss:
    """The record that a chunk is due again: its event id and its time in Unix seconds."""

    event: int
    at: float


def losses(instance: dg.DagsterInstance, recorded: Mapping[Name, str | None]) -> dict[Name, Loss]:
    """Return the record of each chunk that `recorded` marks as due again."""
    keys = {str(partition_key(*name)) for name, digest in recorded.items() if digest == DUE_AGAIN}
    events = latest_commits(instance, keys) if keys else ()
    return {name: Loss(record.storage_id, record.timestamp) for name, _, record in events}


def files_of(event: dg.AssetMaterialization) -> tuple[ShardFile, ...] | None:
    """Return the files in a materialization's metadata, "" for an unknown SHA-256; None if it has no such entry."""
    table = event.metadata.get("files")
    if not isinstance(table, dg.TableMetadataValue):
        return () if table is not None else None  # an empty table is recorded as "none"
    language = read_key(event.partition)[0] if event.partition else ""
    return tuple(_shard_file(row.data, language) for row in table.records)


def _shard_file(row: Mapping[str, Any], language: str) -> ShardFile:
    name, sha256 = row["file"], row["sha256"]
    path = name if "/" in name else path_in_repo(language, name)  # early records have the bare name
    return ShardFile(path, row["rows"], row["bytes"], "" if sha256 == "none" else sha256)


def committed_files(instance: dg.DagsterInstance) -> dict[Name, tuple[ShardFile, ...] | None]:
    """Return the files of each partition's latest commit."""
    return {name: files_of(event) for name, event, _ in latest_commits(instance)}


def unplanned_chunks(instance: dg.DagsterInstance, plan: PlanStore) -> list[Name]:
    """Return the chunks that were built or committed and have no manifest."""
    # The history is read first, so that a chunk of a concurrent scan is in the plan.
    recorded = [recorded_digests(instance, asset) for asset in (SHARDS, COMMIT)]
    planned = plan.names()
    return sorted({name for digests in recorded for name in find_unplanned(planned, digests)})
