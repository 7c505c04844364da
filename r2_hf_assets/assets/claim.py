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
        built = shards.readable_records(chunks)
        nothing = frozenset[str]()
        return {
            name: recorded.get(name, nothing) | (built[name].sha256s if name in built else nothing) for name in chunks
        }

    return Claim(plan.id(), known)
