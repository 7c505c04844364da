"""Looks at everything that a comparison needs, in an order that a run going on beside it can't confuse.

The history comes first and is handed in; then the plan, the build records, and the Hub last: what is recorded while
this looks is on the Hub by the time it is listed. A plan and a Hub of 25,000 chunks are some fifty requests; build
records are one small read a chunk.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from r2_hf_assets.errors import GaveUp
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import check_owner
from r2_hf_assets.hub.inventory import take_inventory
from r2_hf_assets.hub.reading import HubReader
from r2_hf_assets.plan.chunks import Planned
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.reconcile.compare import Facts, Recorded
from r2_hf_assets.reconcile.prove import Proof, open_source, prove, side_by_side
from r2_hf_assets.reconcile.report import Difference, Due, Kind, Name, Recovered, Report
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.builds import open_builds
from r2_hf_assets.shards.record import ShardFile

Log = Callable[[str], None]


def survey(
    settings: Settings,
    shards_recorded: Recorded,
    commits_recorded: Recorded,
    committed: Mapping[Name, tuple[ShardFile, ...] | None],
    log: Log | None = None,
) -> Facts:
    """Plan, build records and the Hub's head, beside the history that was read before.

    Raises:
        ForeignDataset: the dataset belongs to another plan.
        PlanError, AccessError, GaveUp: something can't be read.
    """
    plan = open_plan(settings.plan, settings.r2)
    planned = tuple(plan.planned())
    names = [(chunk.language, chunk.number) for chunk in planned]
    builds = open_builds(settings.plan, settings.r2).readable_records(names)  # a damaged one counts as lost
    hub = take_inventory(settings.hub, log=log)
    if hub.revision is not None:
        check_owner(HubClient(settings.hub), hub.revision, plan.find_id(), log=log)
    return Facts(planned, shards_recorded, commits_recorded, builds, hub, committed)


def proofs(
    settings: Settings, facts: Facts, report: Report, keep: Callable[[Recovered], object], log: Log | None = None
) -> Report:
    """The report with every unproven chunk read on the Hub: it became recordable, or unverifiable with the reason, and
    then replaceable when its rows are of the chunk.

    Args:
        keep: is handed each chunk that is proven, at once: reading many takes long, and may be stopped.
    """
    if not report.unproven or report.revision is None:
        return report
    recovered: list[Recovered] = []
    failed: dict[Name, Difference] = {}
    replaceable: list[Due] = []
    for planned, found in _proved(settings, facts, report.unproven, report.revision, log):
        name = (planned.language, planned.number)
        if isinstance(found, str):
            failed[name] = Difference(Kind.UNVERIFIABLE, name, f"it could not be read this time: {found}")
        elif found.reason is not None:
            failed[name] = Difference(Kind.UNVERIFIABLE, name, found.reason)
            if found.of_chunk:
                replaceable.append(Due(name, found.reason, found.files))
        else:
            recovered.append(Recovered(planned, found.files, "its rows on the Hub, against the bucket"))
            keep(recovered[-1])
    proven = {
        name: Difference(Kind.UNRECORDED, name, f"{len(item.files)} files, other than the build record's")
        for item in recovered
        if (name := (item.chunk.language, item.chunk.number)) in facts.builds
    }
    kept = [
        d for d in report.differences if d.chunk not in proven and (d.kind != Kind.UNRECORDED or d.chunk not in failed)
    ]
    differences = sorted(
        (*kept, *proven.values(), *failed.values()), key=lambda difference: list(Kind).index(difference.kind)
    )
    return replace(
        report,
        differences=tuple(differences),
        recordable=(*report.recordable, *recovered),
        replaceable=tuple(replaceable),
        unproven=(),
    )


def _proved(
    settings: Settings, facts: Facts, chunks: Sequence[Planned], revision: str, log: Log | None
) -> Iterator[tuple[Planned, Proof | str]]:
    """The proof of each chunk, or the transient error that kept it from being read."""
    plan = open_plan(settings.plan, settings.r2)
    source, reader = open_source(settings), HubReader(settings.hub, revision, log=log)
    there = facts.hub.by_chunk()

    def look(planned: Planned) -> tuple[Planned, Proof | str]:
        name = (planned.language, planned.number)
        chunk = plan.read(*name)
        assert chunk is not None, "nothing deletes manifests"
        try:
            return planned, prove(chunk, there[name], reader, source)
        except GaveUp as error:
            return planned, str(error)

    for done, found in enumerate(side_by_side(look, chunks), 1):
        if log:
            log(f"read {done} of {len(chunks)} chunks on the Hub")
        yield found
