"""Collects what a comparison needs: plan, history, build records, and the files on the Hub.

The order makes a concurrent run harmless: the caller reads the history first, the Hub is listed last, so what the
history names is on the Hub by then. A plan and a Hub of 25,000 chunks are some fifty requests; build records are one
small read a chunk.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import check_owner
from r2_hf_assets.hub.reads import Inventory, take_inventory
from r2_hf_assets.plan.chunks import Planned
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.reconcile.report import Name
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.builds import open_builds
from r2_hf_assets.shards.record import BuildRecord, ShardFile

Log = Callable[[str], None]
Recorded = Mapping[Name, str | None]
Committed = Mapping[Name, tuple[ShardFile, ...] | None]


@dataclass(frozen=True)
class State:
    """What is compared, by (language, chunk number).

    Attributes:
        shards_recorded, commits_recorded: digests of the latest materializations.
        builds: readable build records; a damaged one counts as lost.
        committed: the files that the latest commit's record names.
    """

    planned: tuple[Planned, ...]
    shards_recorded: Recorded
    commits_recorded: Recorded
    builds: Mapping[Name, BuildRecord]
    hub: Inventory
    committed: Committed = field(default_factory=dict)


def collect_state(
    settings: Settings,
    shards_recorded: Recorded,
    commits_recorded: Recorded,
    committed: Committed,
    log: Log | None = None,
) -> State:
    """Add plan, build records and the Hub's head to the history, which was read before.

    Raises:
        ForeignDataset: the dataset belongs to another plan.
        PlanError, AccessError, GaveUp: something can't be read.
    """
    plan = open_plan(settings.plan, settings.r2)
    planned = tuple(plan.planned())
    names = [(chunk.language, chunk.number) for chunk in planned]
    builds = open_builds(settings.plan, settings.r2).readable_records(names)
    repo = HubClient(settings.hub, log)
    hub = take_inventory(repo)
    if hub.revision is not None:
        check_owner(repo, hub.revision, plan.find_id())
    return State(planned, shards_recorded, commits_recorded, builds, hub, committed)
