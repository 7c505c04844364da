"""`dataset_card`: the dataset's README.md on the Hub. hub/card/ has its content and the merge with what users wrote.

The figures are those of the indexes at the head, which the history caches (runs/card_facts.py). A chunk counts only if
its recorded digest is the plan's. The releases are read from the tags (hub/releases.py).
"""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from r2_hf_assets.assets.hub_commit import hub_commit
from r2_hf_assets.hub.card.commit import CardRecord, commit_card
from r2_hf_assets.hub.card.facts import CardFacts
from r2_hf_assets.hub.card.merge import CARD_PATH
from r2_hf_assets.hub.card.text import fingerprint
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.resources import SettingsResource
from r2_hf_assets.runs.card_facts import read_facts
from r2_hf_assets.runs.heartbeat import RunHeartbeat
from r2_hf_assets.runs.outcome import report_user_errors
from r2_hf_assets.sensors.stale_card import CARD_JOB, READ_UP_TO


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

    Made from the plan, the history and the indexes in one commit, or none if no figure changed. Text that users added
    stays. The sensor `stale_card` requests it after commits.
    """
    with report_user_errors(context):
        loaded = settings.load()
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        plan = open_plan(loaded.plan, loaded.r2)
        repo = HubClient(loaded.hub, context.log.warning)
        read = read_facts(context.instance, plan, loaded, repo)
        facts = read.card
        if not facts.all.rows and not facts.indexed:
            context.log.warning("no committed rows are recorded, so the card is not changed")
            record = CardRecord(None, False)
        else:
            run_heartbeat.raise_if_terminated()
            record = commit_card(repo, facts, at, plan.ensure_id(), may_shrink=config.may_shrink)
            context.log.info("the card was committed" if record.committed else "no figure of the card changed")
    metadata = {**_metadata(facts, record), READ_UP_TO: read.read_up_to}
    return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(fingerprint(facts)))


card_job = dg.define_asset_job(
    CARD_JOB,
    selection=dg.AssetSelection.assets(dataset_card),
    description="Updates the dataset card if a figure changed.",
)


def _metadata(facts: CardFacts, record: CardRecord) -> dict[str, Any]:
    page, total = f"{facts.endpoint}/datasets/{facts.repo_id}", facts.all
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
        "chunks_planned": facts.planned,
        "chunks_committed": facts.committed,
        "chunks_with_hours": total.counted,
        "committed_digest": facts.digest,
    }
