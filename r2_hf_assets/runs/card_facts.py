"""Read the facts of the card: the figures of the committed chunks by their indexes at the Hub's head.

The history is the cache of the indexes' headers: it has the SHA-256 of each committed index, with its figures. So the
usual update lists metadata/ once and reads no header. A chunk that another release committed without an index has the
figures of its record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import dagster as dg

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.hub.card.facts import CardFacts, Figures, by_language, digest_of, figures_of
from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.figures import read_figures
from r2_hf_assets.hub.reads import HubReader, Inventory
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.runs.history import files_of, latest_commits, latest_ids, recorded_digests
from r2_hf_assets.runs.metadata import STATS
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.names import METADATA, is_index
from r2_hf_assets.shards.stats import Stats


@dataclass(frozen=True)
class Facts:
    """The card's facts, and what they were made from.

    Attributes:
        read_up_to: id of the newest event that they include, 0 for none.
        indexes: those at the revision; none when there is no repo or no commit is recorded.
        known: figures by the SHA-256 of their index, recorded or read.
    """

    card: CardFacts
    read_up_to: int
    indexes: Mapping[Name, RemoteFile] = field(default_factory=dict)
    known: Mapping[str, Figures] = field(default_factory=dict)


def read_facts(
    instance: dg.DagsterInstance, plan: PlanStore, settings: Settings, repo: HubClient, revision: str | None = None
) -> Facts:
    """Return the facts at a revision, by default at the head. Only planned chunks that are recorded as such count.

    Raises AccessError or RetriesExhausted if the Hub can't be read, ShardError for a damaged index.
    """
    # The history is read before plan and head, so every chunk in it is planned, and every commit in it is on the Hub.
    newest = max(latest_ids(instance).values(), default=0)
    planned, recorded = plan.planned(), recorded_digests(instance, COMMIT, settings.dataset)
    digests = {chunk.name: chunk.digest for chunk in planned if recorded.get(chunk.name) == chunk.digest}
    figures: dict[Name, Figures] = {}
    known: dict[str, Figures] = {}
    for name, event, _ in latest_commits(instance):
        chunk = _recorded_figures(event)
        if name in digests:
            figures[name] = chunk
        if chunk.counted:
            known |= {file.sha256: chunk for file in files_of(event) or () if is_index(file.path) and file.sha256}
    indexes: dict[Name, RemoteFile] = {}
    if figures and revision is None:
        revision = repo.call_with_retry("read", repo.head)
    if revision is not None:
        listed = repo.call_with_retry("list", partial(repo.list_files, METADATA, revision))
        indexes = Inventory(revision, listed).indexes()
        committed = {name: file for name, file in indexes.items() if name in figures}
        read = read_figures(HubReader(repo, revision), committed, known)
        figures |= read
        known |= {committed[name].sha256 or "": one for name, one in read.items()}
    card = CardFacts(
        repo_id=settings.hub.repo_id,
        languages=by_language(figures),
        planned=len(planned),
        digest=digest_of({name: digests[name] for name in figures}),
        indexed=bool(figures.keys() & indexes.keys()),
        chunks=len(figures),
        title=settings.hub.title,
        license=settings.hub.license,
        endpoint=settings.hub.endpoint,
        removed_segments=sum(one.stats.removed_segments for one in figures.values()),
        removed_episodes=sum(one.stats.removed_episodes for one in figures.values()),
    )
    return Facts(card, newest, indexes, known)


def _recorded_figures(event: dg.AssetMaterialization) -> Figures:
    values: dict[str, Any] = {key: value.value for key, value in event.metadata.items()}
    try:
        stats = Stats.from_json(values[STATS])
    except (KeyError, TypeError, ValueError):  # recorded without statistics, or with another release's bins
        stats = None
    return figures_of(values.get("dagster/row_count", 0), values.get("bytes", 0), stats)
