"""Take episodes, segments or speakers out of the dataset: an amendment, in the plan and on the Hub.

The chunks that it names are due then; their next builds leave out what is removed, and each replaces its chunk's files
in one commit. Old revisions of the repo still hold the content until `r2-hf purge`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from r2_hf_assets.amend.targets import find_targets
from r2_hf_assets.bucket.listing import age_of_newest
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.amendments import publish_amendments, refuse_old_plan
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.ownership import refuse_other_plan
from r2_hf_assets.hub.reads import HubReader
from r2_hf_assets.plan.amendments import REMOVE, Amendment, Name, Target, removals_of
from r2_hf_assets.plan.scan import amend_planned
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.names import index_path

_COLUMNS = ["episode", "segment", "speaker_id", "audio_bytes", "reject_reason"]


@dataclass(frozen=True)
class Match:
    """A target, and what the head of the dataset has of it; None where its chunk is not committed."""

    target: Target
    rows: int | None
    audio_bytes: int = 0


@dataclass(frozen=True)
class Removal:
    """The result: what is removed now, what was already, the amendment if there is one, and the chunks to rebuild."""

    matches: tuple[Match, ...]
    already: int
    amendment: Amendment | None
    chunks: tuple[Name, ...]


def remove(
    settings: Settings,
    words: Iterable[str],
    reason: str,
    *,
    dry_run: bool = False,
    log: Callable[[str], None] | None = None,
) -> Removal:
    """Remove what the words name (targets.py) for good. Nothing is changed when one of them is wrong.

    After it returns, no new commit has the content, whichever run is under way (hub/amendments.py).

    Raises:
        R2HfError: a word names nothing, or the reason is empty.
        ForeignDataset, AccessError, PlanError, RetriesExhausted.
    """
    if not reason.strip():
        raise R2HfError("the reason is empty; say why, for the record beside the plan; nothing was changed")
    plan, repo, bucket = open_plan(settings.plan, settings.r2), HubClient(settings.hub, log), Bucket(settings.r2)
    plan_id, before = plan.ensure_id(), plan.amendments()
    head = repo.call_with_retry("read", repo.head)
    if head is not None:
        repo.call_with_retry("read", lambda: refuse_other_plan(repo, head, plan_id))
        refuse_old_plan(repo, plan.amendments)
    known = set(plan.names())
    named = find_targets(
        dict.fromkeys(words),
        plan,
        lambda episode: age_of_newest(bucket, f"{plan.prefix}{episode}/", plan.retry) is not None,
    )
    removed = removals_of(before)
    targets = [target for target in named if not removed.covers(target)]
    late = _planned_late(named, before)
    matches = _match(HubReader(repo, head) if head else None, targets)
    chunks = tuple(sorted({target.chunk for target in (*targets, *late) if target.chunk}))
    amendment = None
    if not dry_run:
        now = datetime.now(UTC)
        if targets or late:
            amendment = plan.amend(REMOVE, [*targets, *late], reason.strip(), now)
            new = [name for name in plan.names() if name not in known]
            amend_planned(plan, before, plan.read_many(new), now)
        publish_amendments(repo, plan_id, plan.amendments())
    return Removal(tuple(matches), len(named) - len(targets), amendment, chunks)


def _planned_late(named: Iterable[Target], log: Iterable[Amendment]) -> list[Target]:
    """Return the targets that are planned now, and that the log has only as unplanned ones.

    A call that ended right after its amendment may have left such a chunk, built before with the content and not due.
    """
    done = {target for amendment in log if amendment.kind == REMOVE for target in amendment.targets}
    late = []
    for target in named:
        whole = replace(target, segment=None, speaker=None)
        unplanned = {replace(target, chunk=None), replace(whole, chunk=None)}
        if target.chunk and not {target, whole} & done and unplanned & done:
            late.append(target)
    return late


def _match(reader: HubReader | None, targets: Sequence[Target]) -> list[Match]:
    """Compare targets with the indexes at the head. Raises R2HfError for a segment or speaker that no entry has."""
    tables: dict[Name, pa.Table | None] = {}
    matches = []
    for target in targets:
        name = target.chunk
        if name is not None and name not in tables:
            tables[name] = _read_index(reader, name) if reader else None
        table = tables[name] if name else None
        matches.append(Match(target, None) if table is None else _match_one(table, target))
    return matches


def _read_index(reader: HubReader, name: Name) -> pa.Table | None:
    path = index_path(*name)
    existing = reader.repo.call_with_retry("read", lambda: reader.repo.files([path], reader.revision))
    return reader.columns(existing[path], _COLUMNS) if path in existing else None


def _match_one(table: pa.Table, target: Target) -> Match:
    entries = table.filter(pc.equal(table["episode"], target.episode))
    if target.segment is not None:
        entries = entries.filter(pc.equal(entries["segment"], target.segment))
    if target.speaker is not None:
        speakers = sorted(filter(None, pc.unique(entries["speaker_id"]).to_pylist()))
        if target.speaker not in speakers:
            raise R2HfError(f"{target.episode} has no speaker {target.speaker}, only {', '.join(speakers) or 'none'}")
        entries = entries.filter(pc.equal(entries["speaker_id"], target.speaker))
    if target.segment is not None and not entries.num_rows:
        raise R2HfError(f"{target.episode} has no segment {target.segment}; nothing was changed")
    rows = entries.filter(pc.is_null(entries["reject_reason"]))
    return Match(target, rows.num_rows, pc.sum(rows["audio_bytes"]).as_py() or 0)
