"""`dataset_card`: the dataset's README.md on the Hub. hub/card/ has its content and the merge with what users wrote.

The figures come from the plan and Dagster's history; no data file is read. A chunk counts only if its recorded digest
is the plan's.
"""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.assets.hub_commit import hub_commit
from r2_hf_assets.hub.card.commit import CardRecord, commit_card
from r2_hf_assets.hub.card.facts import CardFacts, ChunkFacts, by_language, digest_of
from r2_hf_assets.hub.card.merge import BEGIN, CARD_PATH, END, read_card
from r2_hf_assets.hub.card.text import PICTURE_PATH, fingerprint
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.resources import SettingsResource
from r2_hf_assets.runs.heartbeat import RunHeartbeat
from r2_hf_assets.runs.history import latest_commits, latest_ids, recorded_digests
from r2_hf_assets.runs.metadata import STATS
from r2_hf_assets.runs.outcome import report_user_errors
from r2_hf_assets.sensors.stale_card import CARD_JOB, READ_UP_TO
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.stats import Stats


class CardConfig(dg.Config):
    """Options of a card run."""

    may_shrink: bool = Field(
        default=False, description="Write the card even if the one on the Hub counts more chunks than this history."
    )


@dg.asset(deps=[hub_commit], group_name="speech_dataset", kinds={"huggingface", "markdown"})
def dataset_card(
    context: dg.AssetExecutionContext, config: CardConfig, settings: SettingsResource, run_heartbeat: RunHeartbeat
) -> dg.MaterializeResult:
    """README.md of the dataset: configs by language, hours, segments, speakers, quality, how to load it, provenance.

    Made from the plan and the history in one commit, or none if no figure changed. Text that users added stays. The
    sensor `stale_card` requests it after commits.
    """
    with report_user_errors(context):
        loaded = settings.load()
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        plan = open_plan(loaded.plan, loaded.r2)
        facts, read_up_to = read_facts(context.instance, plan, loaded)
        if not facts.all.rows:
            context.log.warning("no committed rows are recorded, so the card is not changed")
            record = CardRecord(None, False, "")
        else:
            run_heartbeat.raise_if_terminated()
            repo = HubClient(loaded.hub, context.log.warning)
            record = commit_card(repo, facts, at, plan.ensure_id(), may_shrink=config.may_shrink)
            context.log.info("the card was committed" if record.committed else "no figure of the card changed")
    metadata = {**_metadata(facts, record), READ_UP_TO: read_up_to}
    return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(fingerprint(facts)))


card_job = dg.define_asset_job(
    CARD_JOB,
    selection=dg.AssetSelection.assets(dataset_card),
    description="Updates the dataset card if a figure changed.",
)


def read_facts(instance: dg.DagsterInstance, plan: PlanStore, settings: Settings) -> tuple[CardFacts, int]:
    """Return the facts and the id of the newest event that they include (0 for none)."""
    # The history is read before the plan, so that every chunk in it is in the plan.
    newest = max(latest_ids(instance).values(), default=0)
    planned, recorded = plan.planned(), recorded_digests(instance, COMMIT, settings.dataset)
    digests = {chunk.name: chunk.digest for chunk in planned}
    chunks = [
        _chunk_facts(name, digest, event)
        for name, event, _ in latest_commits(instance)
        if (digest := digests.get(name)) is not None and recorded.get(name) == digest
    ]
    facts = CardFacts(
        repo_id=settings.hub.repo_id,
        languages=by_language(chunks),
        planned=len(planned),
        digest=digest_of(chunks),
        title=settings.hub.title,
        license=settings.hub.license,
        endpoint=settings.hub.endpoint,
    )
    return facts, newest


def _chunk_facts(name: Name, digest: str, event: dg.AssetMaterialization) -> ChunkFacts:
    values: dict[str, Any] = {key: value.value for key, value in event.metadata.items()}
    try:
        stats = Stats.from_json(values[STATS])
    except (KeyError, TypeError, ValueError):  # recorded without statistics, or with another release's bins
        stats = None
    return ChunkFacts(*name, digest, values.get("dagster/row_count", 0), values.get("bytes", 0), stats)


def _metadata(facts: CardFacts, record: CardRecord) -> dict[str, Any]:
    page, total = f"{facts.endpoint}/datasets/{facts.repo_id}", facts.all
    preview = (read_card(record.text.encode()).section or "no card").removeprefix(BEGIN).removesuffix(END).strip()
    picture = f"{page}/resolve/{record.oid}/{PICTURE_PATH}"
    return {
        "card": dg.MetadataValue.url(f"{page}/blob/main/{CARD_PATH}"),
        "dagster/uri": page,
        "committed": record.committed,
        "commit_oid": record.oid or "none",
        "segments": total.rows,
        "hours": round(total.stats.hours, 4),
        "episodes": total.stats.episodes,
        "speakers": total.stats.speakers,
        "bytes": total.bytes,
        "languages": len(facts.languages),
        "chunks": total.chunks,
        "chunks_counted": total.counted,
        "chunks_planned": facts.planned,
        "plan_digest": facts.digest,
        "preview": dg.MetadataValue.md(preview.replace(f"({PICTURE_PATH})", f"({picture})")),
    }
