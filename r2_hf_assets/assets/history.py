"""Progress, read from Dagster's materialization history: which chunk each partition was last materialized for.

The digest is the materialization's data version, because that is the one tag that Dagster indexes: the latest one of
every partition is a single query. That of hub_commit reads `<digest>@<owner/name>`, since a commit counts for the
dataset that it was made in and for no other. Events of earlier releases name the digest alone, and the dataset in their
metadata.
"""

import re
from collections import defaultdict
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
from r2_hf_assets.assets.partitions import partition_key, read_key
from r2_hf_assets.dagster_internals import DATA_VERSION_IS_USER_PROVIDED_TAG, DATA_VERSION_TAG
from r2_hf_assets.plan.due import DUE_AGAIN, UNPLANNED, is_digest, lost
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.shards.record import ShardFile

# Records read by one query: some kilobytes each, so a few megabytes in memory at once.
PAGE = 1000

_KEYS_PER_QUERY = 500
_COMMIT_URL = re.compile(r"/datasets/([^/]+/[^/]+)/commit/")
# Events never change, so what one of an earlier release names is read once: by DAGSTER_HOME and event id.
_named_by_event: dict[tuple[str, int], str | None] = {}


def data_version(digest: str, dataset: str | None = None) -> str:
    """What is recorded for a chunk: its digest, and of a commit the dataset that it was made in."""
    return f"{digest}@{dataset}" if dataset and is_digest(digest) else digest


def recorded_digests(
    instance: DagsterInstance, asset: AssetKey, dataset: str | None = None, keys: Sequence[str] | None = None
) -> dict[tuple[str, int], str | None]:
    """Digest of the latest materialization by (language, chunk number): one query for all partitions.

    Args:
        dataset: of hub_commit, leave out what was committed to another dataset than this one.
        keys: only these partitions.
    """
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        asset, DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG], asset_partitions=keys
    )
    digests: dict[tuple[str, int], str | None] = {}
    unnamed: set[str] = set()
    for key, found in tags.items():
        digest, _, named = (found.get(DATA_VERSION_TAG) or "").partition("@")
        if dataset is None or named in ("", dataset):
            digests[read_key(key)] = digest or None
        if dataset is not None and asset == COMMIT and not named and is_digest(digest):
            unnamed.add(key)
    for key, named_otherwise in (_datasets(instance, unnamed) if unnamed else {}).items():
        if named_otherwise not in (None, dataset):
            del digests[read_key(key)]
    return digests


def _datasets(instance: DagsterInstance, keys: Collection[str]) -> Mapping[str, str | None]:
    """The dataset that the latest commit of each partition names in its metadata; None where it names none."""
    home = instance.root_directory
    ids = latest_ids(instance, COMMIT, keys)
    unread = {key: found for key, found in ids.items() if (home, found) not in _named_by_event}
    for _, event, record in materializations(instance, COMMIT, unread):
        uri = event.metadata.get("dagster/uri")
        named = _COMMIT_URL.search(str(uri.value)) if uri is not None else None
        _named_by_event[home, record.storage_id] = named[1] if named else None
    return {key: _named_by_event.get((home, found)) for key, found in ids.items()}


def latest_ids(instance: DagsterInstance, asset: AssetKey, keys: Collection[str] | None = None) -> Mapping[str, int]:
    """Event id of the latest materialization by partition key, of these keys or of all: one query."""
    ids = instance.event_log_storage.get_latest_storage_id_by_partition(asset, DagsterEventType.ASSET_MATERIALIZATION)
    return ids if keys is None else {key: found for key, found in ids.items() if key in keys}


def materializations(
    instance: DagsterInstance, asset: AssetKey, ids: Mapping[str, int]
) -> Iterator[tuple[tuple[str, int], AssetMaterialization, EventLogRecord]]:
    """The materializations with these event ids, each with its (language, chunk number); a query for every PAGE."""
    numbers = sorted(ids.values())
    for first in range(0, len(numbers), PAGE):
        wanted = AssetRecordsFilter(asset, storage_ids=numbers[first : first + PAGE])
        for record in instance.fetch_materializations(wanted, limit=PAGE).records:
            event = record.asset_materialization
            if event is not None and event.partition is not None:
                yield read_key(event.partition), event, record


@dataclass(frozen=True)
class Loss:
    """The record that a chunk is due again: its event id, and when it was written, in Unix seconds."""

    event: int
    at: float


def losses(instance: DagsterInstance, recorded: Mapping[tuple[str, int], str | None]) -> dict[tuple[str, int], Loss]:
    """Of the chunks that are recorded as due again, that record. No query when there are none.

    Args:
        recorded: what `recorded_digests` says of hub_commit.
    """
    keys = {str(partition_key(*name)) for name, digest in recorded.items() if digest == DUE_AGAIN}
    ids = latest_ids(instance, COMMIT, keys) if keys else {}
    return {
        name: Loss(record.storage_id, record.timestamp) for name, _, record in materializations(instance, COMMIT, ids)
    }


def files_of(event: AssetMaterialization) -> tuple[ShardFile, ...] | None:
    """The files that a materialization names, with rows, size and SHA-256 ("" where none is known); None when it does
    not say."""
    found = event.metadata.get("files")
    if not isinstance(found, TableMetadataValue):
        return () if found is not None else None  # a table of no rows is recorded as a word
    return tuple(_shard_file(record.data) for record in found.records)


def _shard_file(row: Mapping[str, Any]) -> ShardFile:
    sha256 = str(row["sha256"])
    return ShardFile(
        str(row["file"]).rsplit("/", 1)[-1], int(row["rows"]), int(row["bytes"]), "" if sha256 == "none" else sha256
    )


def committed_files(instance: DagsterInstance) -> dict[tuple[str, int], tuple[ShardFile, ...] | None]:
    """The files that the latest commit of every partition names; a query for every thousand."""
    return {
        name: files_of(event) for name, event, _ in materializations(instance, COMMIT, latest_ids(instance, COMMIT))
    }


def known_sha256(instance: DagsterInstance, chunks: Iterable[tuple[str, int]]) -> dict[tuple[str, int], frozenset[str]]:
    """SHA-256 of every file that any record of these chunks' commits names, the latest or an earlier one."""
    keys = [str(partition_key(*name)) for name in chunks]
    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    for first in range(0, len(keys), _KEYS_PER_QUERY):
        wanted = AssetRecordsFilter(COMMIT, asset_partitions=keys[first : first + _KEYS_PER_QUERY])
        cursor, more = None, True
        while more:
            page = instance.fetch_materializations(wanted, limit=PAGE, cursor=cursor)
            for record in page.records:
                event = record.asset_materialization
                if event is not None and event.partition is not None:
                    found[read_key(event.partition)].update(file.sha256 for file in files_of(event) or ())
            cursor, more = page.cursor, page.has_more
    return {name: frozenset(sha256s - {""}) for name, sha256s in found.items()}


@dataclass(frozen=True)
class Commit:
    """The latest record of a chunk's commit: when, in Unix seconds, its hours of audio, and whether a run made it.

    `hours` is None for what was found on the Hub or taken over, and not built here.
    """

    at: float
    hours: float | None
    by_run: bool


def commits_by_chunk(instance: DagsterInstance, asset: AssetKey) -> dict[tuple[str, int], Commit]:
    """The latest materialization of every partition by (language, chunk number); a query for every thousand."""
    found: dict[tuple[str, int], Commit] = {}
    for name, event, record in materializations(instance, asset, latest_ids(instance, asset)):
        hours = event.metadata.get("hours")
        known = hours.value if hours is not None and isinstance(hours.value, int | float) else None
        found[name] = Commit(record.timestamp, known, "recorded_by" not in event.metadata)
    return found


def lost_chunks(instance: DagsterInstance, plan: PlanStore) -> list[tuple[str, int]]:
    """Chunks that were built or committed, and that the plan does not hold."""
    # The history comes first: what it knows was planned by then, also when a scan beside this one goes on planning.
    recorded = [recorded_digests(instance, asset) for asset in (SHARDS, COMMIT)]
    planned = [(language, number) for language, numbers in plan.numbers().items() for number in numbers]
    return sorted({name for digests in recorded for name in lost(planned, digests)})


def record_unplanned(instance: DagsterInstance, chunks: Iterable[tuple[str, int]]) -> None:
    """Let the history forget chunks: their cells are recorded as holding nothing, as of a plan that never had them."""
    for name in chunks:
        for asset in (SHARDS, COMMIT):
            event = AssetMaterialization(
                asset,
                partition=str(partition_key(*name)),
                metadata={"dagster/row_count": 0, "planned": False},
                tags={DATA_VERSION_TAG: UNPLANNED, DATA_VERSION_IS_USER_PROVIDED_TAG: "true"},
            )
            instance.report_runless_asset_event(event)
