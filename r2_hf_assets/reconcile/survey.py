"""Looks at everything that a comparison needs, in an order that a run going on beside it can't confuse.

The history comes first and is handed in; then the plan, the build records, and the Hub last: what is recorded while
this looks is on the Hub by the time it is listed. A plan and a Hub of 25,000 chunks are some fifty requests; build
records are one small read a chunk.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from r2_hf_assets.errors import GaveUp, ShardError
from r2_hf_assets.hub.inventory import take_inventory
from r2_hf_assets.hub.reading import HubReader
from r2_hf_assets.plan.chunks import Planned
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.reconcile.compare import Facts, Recorded
from r2_hf_assets.reconcile.prove import open_source, prove, side_by_side
from r2_hf_assets.reconcile.report import Difference, Kind, Name, Recovered, Report
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets.shards.store import ShardStore, open_shards

_READERS = 32

Log = Callable[[str], None]


def survey(settings: Settings, shards_recorded: Recorded, commits_recorded: Recorded, log: Log | None = None) -> Facts:
    """Plan, build records and the Hub's head, beside the history that was read before.

    Raises:
        PlanError, AccessError, GaveUp: something can't be read.
    """
    assert settings.r2 is not None and settings.hub is not None
    planned = tuple(open_plan(settings.plan, settings.r2).planned())
    builds = _builds(open_shards(settings.shards, settings.r2), planned)
    return Facts(planned, shards_recorded, commits_recorded, builds, take_inventory(settings.hub, log=log))


def proofs(
    settings: Settings, facts: Facts, report: Report, keep: Callable[[Recovered], object], log: Log | None = None
) -> Report:
    """The report with every unproven chunk read on the Hub: it became recordable, or unverifiable with the reason.

    Args:
        keep: is handed each chunk that is proven, at once: reading many takes long, and may be stopped.
    """
    if not report.unproven or report.revision is None:
        return report
    recovered: list[Recovered] = []
    failed: dict[Name, Difference] = {}
    for found in _proved(settings, facts, report.unproven, report.revision, log):
        if isinstance(found, Recovered):
            keep(found)
            recovered.append(found)
        else:
            failed[found.chunk or ("", 0)] = found
    kept = tuple(d for d in report.differences if d.kind != Kind.UNRECORDED or d.chunk not in failed)
    differences = sorted((*kept, *failed.values()), key=lambda difference: list(Kind).index(difference.kind))
    return replace(report, differences=tuple(differences), recordable=(*report.recordable, *recovered), unproven=())


def _proved(
    settings: Settings, facts: Facts, chunks: Sequence[Planned], revision: str, log: Log | None
) -> Iterator[Recovered | Difference]:
    assert settings.r2 is not None and settings.hub is not None
    plan = open_plan(settings.plan, settings.r2)
    source, reader = open_source(settings), HubReader(settings.hub, revision, log=log)
    there = facts.hub.by_chunk()

    def look(planned: Planned) -> Recovered | Difference:
        name = (planned.language, planned.number)
        chunk = plan.read(*name)
        assert chunk is not None, "nothing deletes manifests"
        try:
            proof = prove(chunk, there[name], reader, source)
        except GaveUp as trouble:
            return Difference(Kind.UNVERIFIABLE, name, f"it could not be read this time: {trouble}")
        if proof.reason is None:
            return Recovered(planned, proof.files, "its rows on the Hub, against the bucket")
        return Difference(Kind.UNVERIFIABLE, name, proof.reason)

    for done, found in enumerate(side_by_side(look, chunks), 1):
        if log:
            log(f"read {done} of {len(chunks)} chunks on the Hub")
        yield found


def _builds(shards: ShardStore, planned: Sequence[Planned]) -> dict[Name, BuildRecord]:
    """Build records by chunk; a damaged one counts as lost."""

    def read(chunk: Planned) -> BuildRecord | None:
        try:
            return shards.record(chunk.language, chunk.number)
        except ShardError:
            return None

    with ThreadPoolExecutor(_READERS) as pool:
        records = pool.map(read, planned)
        return {(c.language, c.number): record for c, record in zip(planned, records, strict=True) if record}
