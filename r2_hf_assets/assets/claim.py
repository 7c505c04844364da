"""What asking the Hub needs of a run: what is known of the dataset's files (hub/ownership.py), and patience."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from dagster import DagsterInstance

from r2_hf_assets import retry
from r2_hf_assets.assets.history import known_sha256
from r2_hf_assets.assets.signs_of_life import SignsOfLife
from r2_hf_assets.hub.ownership import Claim, Name
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.retry import Retry
from r2_hf_assets.shards.builds import BuildStore


def claim_of(instance: DagsterInstance, plan: PlanStore, builds: BuildStore) -> Claim:
    """This plan's claim on its dataset."""

    def known(chunks: Collection[Name]) -> Mapping[Name, frozenset[str]]:
        recorded = known_sha256(instance, chunks)
        built = builds.built_sha256(chunks)
        return {name: recorded.get(name, frozenset()) | built.get(name, frozenset()) for name in chunks}

    return Claim(plan.id(), known)


def patience(signs_of_life: SignsOfLife) -> Retry:
    """The retries of requests to the Hub. What it asks to wait is waited here, in the slot of the pool, so that runs
    that queue for it wait too; a run that was ended lets the slot go."""
    return replace(retry.COMMIT_RETRY, sleep=signs_of_life.sleep)
