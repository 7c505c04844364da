"""Find what changed in the bucket since its chunks were built, by HEAD requests, and have these chunks built again.

The ETag of each episode's all_segments.json is compared with the one in the index at the head of the dataset. With
`rejected`, only what was missing or empty is asked for. What differs becomes one amendment, so its chunks are due.

An episode whose metadata is gone is only counted: a rebuild would take its rows out of the dataset, which is what
`r2-hf remove` is for. Chunks that are due anyway are left out, because their next build reads everything anew.
"""

from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from r2_hf_assets.amend.targets import locate
from r2_hf_assets.background import map_in_order
from r2_hf_assets.bucket.fetch import head_in_order
from r2_hf_assets.bucket.response import Head
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.amendments import publish_amendments, refuse_old_plan
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.ownership import refuse_other_plan
from r2_hf_assets.hub.reads import READERS, HubReader, require_repo, take_inventory
from r2_hf_assets.plan.amendments import REFRESH, Amendment, Name, Target, removals_of
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.plural import plural
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.index import IndexHeader
from r2_hf_assets.shards.source import ABSENT, METADATA_MISSING

# Reasons that end when an upload arrives later.
_MISSING = pa.array([METADATA_MISSING, "audio_missing", "audio_empty"], pa.string())


@dataclass(frozen=True)
class Selection:
    """Which episodes to ask for: of these languages and names (none: all), changed since then, missing ones only."""

    languages: Collection[str] = ()
    episodes: Collection[str] = ()
    since: datetime | None = None
    rejected: bool = False


@dataclass(frozen=True)
class Change:
    """An episode that differs from its chunk's build, and how."""

    chunk: Name
    episode: str
    why: str


@dataclass
class Refresh:
    """The result. Counts are objects that were asked for, except where the name says chunks.

    Attributes:
        gone: their metadata is not in the bucket any more; nothing is done about them.
        unknown: their ETag at the build is not known (indexes of `r2-hf reconcile --write-index`); see `since`.
        chunks_due: left out, because they are due anyway.
        chunks_without_index: left out: built before there were indexes.
        rebuild_bytes: of the files of the changed chunks.
    """

    asked: int = 0
    gone: int = 0
    unknown: int = 0
    chunks_due: int = 0
    chunks_without_index: int = 0
    rebuild_bytes: int = 0
    changes: list[Change] = field(default_factory=list)
    amendment: Amendment | None = None

    @property
    def chunks(self) -> list[Name]:
        return sorted({change.chunk for change in self.changes})


@dataclass(frozen=True)
class _Question:
    """An object to ask for; `etag` is None where it is not known."""

    episode: str
    key: str
    etag: str | None


def refresh(
    settings: Settings, selection: Selection, *, dry_run: bool = False, log: Callable[[str], None] | None = None
) -> Refresh:
    """Amend the chunks of the selection that changed in the bucket; with `dry_run`, only find them.

    Raises R2HfError for an episode that is not planned; ForeignDataset, AccessError, PlanError, RetriesExhausted.
    """
    plan, repo = open_plan(settings.plan, settings.r2), HubClient(settings.hub, log)
    plan_id, report = plan.ensure_id(), Refresh()
    hub = take_inventory(repo)
    head = require_repo(repo, hub.revision)
    repo.call_with_retry("read", lambda: refuse_other_plan(repo, head, plan_id))
    refuse_old_plan(repo, plan.amendments)
    located = locate(plan, selection.episodes)
    if unknown := [episode for episode in selection.episodes if episode not in located]:
        raise R2HfError(f"{unknown[0]} is not planned; an episode is <folder>/<id>; nothing was changed")
    planned = {
        chunk.name: chunk.digest
        for chunk in plan.planned()
        if (not located or chunk.name in located.values())
        and (not selection.languages or chunk.language in selection.languages)
    }
    indexes, reader = hub.indexes(), HubReader(repo, head)
    report.chunks_without_index = len((planned.keys() & hub.by_chunk().keys()) - indexes.keys())
    removed = removals_of(plan.amendments()).episodes
    sizes: dict[Name, int] = {}

    def read(name: Name) -> tuple[Name, IndexHeader, list[_Question]]:
        header = reader.header(indexes[name])
        metadata_key = header.manifest.metadata_key
        if not selection.rejected:
            return name, header, [_Question(one, metadata_key(one), etag) for one, etag in header.episodes]
        table = reader.columns(indexes[name], ["episode", "key", "reject_reason"])
        table = table.filter(pc.is_in(table["reject_reason"], value_set=_MISSING))
        rows = zip(table["episode"].to_pylist(), table["key"].to_pylist(), strict=True)
        return name, header, [_Question(episode, key, ABSENT) for episode, key in rows]

    def questions() -> Generator[tuple[Name, _Question], None, None]:
        for name, header, asked in map_in_order(read, sorted(planned.keys() & indexes), READERS, "indexes"):
            if header.digest != planned[name]:
                report.chunks_due += 1
                continue
            sizes[name] = sum(file.size for file in header.files)
            for one in asked:
                if one.episode not in removed and (not located or one.episode in located):
                    yield name, one

    for (name, question), answer in head_in_order(
        questions(), lambda item: item[1].key, Bucket(settings.r2), workers=settings.r2.workers, retry=plan.retry
    ):
        report.asked += 1
        if why := _difference(question, answer, selection, report):
            report.changes.append(Change(name, question.episode, why))
        if log and report.asked % 100_000 == 0:
            log(f"asked for {plural(report.asked, 'object')}; {len(report.changes):,} changed")
    report.rebuild_bytes = sum(sizes[name] for name in report.chunks)
    if not dry_run:
        if report.changes:
            episodes = {change.episode: change.chunk for change in report.changes}
            targets = [Target(episode, chunk) for episode, chunk in episodes.items()]
            report.amendment = plan.amend(REFRESH, targets, "changed in the bucket", datetime.now(UTC))
        publish_amendments(repo, plan_id, plan.amendments())
    return report


def _difference(question: _Question, answer: Head | None, selection: Selection, report: Refresh) -> str | None:
    """Return how an object differs from the build; None if it does not, or is not to be built again."""
    if answer is None or (selection.rejected and not answer.size):
        report.gone += question.etag != ABSENT
        return None
    if selection.since and answer.modified < selection.since:
        return None
    if question.etag is None:
        report.unknown += selection.since is None
        return "written since" if selection.since else None
    if question.etag == ABSENT:
        return f"{question.key.rpartition('/')[2]} arrived"
    return "its metadata changed" if answer.etag != question.etag else None
