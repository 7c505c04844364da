"""A plan's claim on a dataset (hub/ownership.py): the files in history and build records."""

from collections import defaultdict
from collections.abc import Collection, Mapping

import dagster as dg

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.hub.ownership import Claim
from r2_hf_assets.partitions import partition_key
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.runs.history import PAGE, by_partition, files_of
from r2_hf_assets.shards.builds import BuildStore

_KEYS_PER_QUERY = 500


def claim_of(instance: dg.DagsterInstance, plan: PlanStore, builds: BuildStore) -> Claim:
    """Return this plan's claim on its dataset."""

    def known(chunks: Collection[Name]) -> Mapping[Name, frozenset[str]]:
        recorded, built = _recorded_sha256(instance, chunks), builds.built_sha256(chunks)
        return {name: frozenset(recorded[name]) | built.get(name, frozenset()) for name in chunks}

    def is_planned(name: Name, digest: str) -> bool:
        chunk = plan.find(*name)
        return chunk is not None and chunk.digest == digest

    return Claim(plan.ensure_id(), known, is_planned)


def _recorded_sha256(instance: dg.DagsterInstance, chunks: Collection[Name]) -> Mapping[Name, set[str]]:
    """Return the SHA-256 of each file in these chunks' commit records, earlier ones included."""
    keys = [str(partition_key(*name)) for name in chunks]
    recorded: dict[Name, set[str]] = defaultdict(set)
    for first in range(0, len(keys), _KEYS_PER_QUERY):
        records = dg.AssetRecordsFilter(COMMIT, asset_partitions=keys[first : first + _KEYS_PER_QUERY])
        cursor, more = None, True
        while more:
            page = instance.fetch_materializations(records, limit=PAGE, cursor=cursor)
            for name, event, _ in by_partition(page.records):
                recorded[name].update(file.sha256 for file in files_of(event) or () if file.sha256)
            cursor, more = page.cursor, page.has_more
    return recorded
