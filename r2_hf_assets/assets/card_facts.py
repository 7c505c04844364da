"""The facts of the dataset card, from the plan and Dagster's history: no file is read again.

One query names the latest materialization of hub_commit for every partition, then each page of them is one more; they
carry rows, bytes and Stats. Only chunks count whose recorded digest is the plan's: what was committed for an earlier
plan is due again, and its figures say nothing.
"""

from typing import Any

from dagster import AssetMaterialization, DagsterInstance

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.assets.history import latest_ids, materializations, recorded_digests
from r2_hf_assets.assets.metadata import STATS
from r2_hf_assets.hub.card.facts import CardFacts, ChunkFacts, by_language, digest_of
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.stats import Stats


def read_facts(instance: DagsterInstance, settings: Settings) -> tuple[CardFacts, int]:
    """The facts, and the newest event that they are from (0 for none).

    Raises:
        PlanError: the plan is damaged or of another bucket.
    """
    # The history comes first: what it knows was planned by then.
    ids = latest_ids(instance, COMMIT)
    planned = open_plan(settings.plan, settings.r2).planned()
    digests = {(chunk.language, chunk.number): chunk.digest for chunk in planned}
    chunks = []
    committed = recorded_digests(instance, COMMIT, settings.dataset)
    for name, event, _ in materializations(instance, COMMIT, ids):
        digest = digests.get(name)
        if digest is not None and committed.get(name) == digest:
            chunks.append(_chunk(name, digest, event))
    facts = CardFacts(
        repo_id=settings.hub.repo_id,
        languages=by_language(chunks),
        planned=len(planned),
        digest=digest_of(chunks),
        title=settings.hub.title,
        license=settings.hub.license,
        endpoint=settings.hub.endpoint,
    )
    return facts, max(ids.values(), default=0)


def _chunk(name: tuple[str, int], digest: str, event: AssetMaterialization) -> ChunkFacts:
    def value(key: str, default: Any) -> Any:
        found = event.metadata.get(key)
        return default if found is None else found.value

    rows, size = value("dagster/row_count", 0), value("bytes", 0)
    return ChunkFacts(*name, digest, rows, size, _stats(value(STATS, None)))


def _stats(raw: Any) -> Stats | None:
    try:
        return Stats.from_json(raw) if raw is not None else None
    except (KeyError, TypeError, ValueError):  # counted in other bins, by another release
        return None
