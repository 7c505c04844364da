"""What the history and the build records know of the dataset's files, as hub/ownership.py asks for it."""

from collections.abc import Collection, Mapping

from dagster import DagsterInstance

from r2_hf_assets.assets.history import known_sha256
from r2_hf_assets.hub.ownership import Claim, Name
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.shards.store import ShardStore


def claim_of(instance: DagsterInstance, plan: PlanStore, shards: ShardStore) -> Claim:
    """This plan's claim on its dataset."""

    def known(chunks: Collection[Name]) -> Mapping[Name, frozenset[str]]:
        recorded = known_sha256(instance, chunks)
        built = shards.built_sha256(chunks)
        return {name: recorded.get(name, frozenset()) | built.get(name, frozenset()) for name in chunks}

    return Claim(plan.id(), known)
