"""`dataset_card`: README.md on the Hub, kept true. See hub/card/ for what it says and what it leaves alone."""

from datetime import UTC, datetime
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetSelection,
    Config,
    DataVersion,
    MaterializeResult,
    MetadataValue,
    asset,
    define_asset_job,
)
from pydantic import Field

from r2_hf_assets.assets.card_facts import read_facts
from r2_hf_assets.assets.hub_commit import hub_commit
from r2_hf_assets.assets.resources import SettingsResource
from r2_hf_assets.assets.runs import user_errors, warn_if_forgetful
from r2_hf_assets.assets.signs_of_life import SignsOfLife
from r2_hf_assets.assets.stale_card import READ_UP_TO
from r2_hf_assets.hub.card.commit import CardRecord, commit_card
from r2_hf_assets.hub.card.facts import CardFacts
from r2_hf_assets.hub.card.merge import BEGIN, CARD_PATH, END, read_card, read_yaml
from r2_hf_assets.hub.card.text import PICTURE_PATH, fingerprint
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import HubSettings


class CardConfig(Config):
    """What to do when the figures went down."""

    may_shrink: bool = Field(
        default=False, description="Write the card although the one on the Hub counts more chunks than this history."
    )


@asset(
    deps=[hub_commit],
    group_name="speech_dataset",
    kinds={"huggingface", "markdown"},
    owners=["team:speech-data"],
    tags={"domain": "podcast-speech"},
)
def dataset_card(
    context: AssetExecutionContext, config: CardConfig, settings: SettingsResource, signs_of_life: SignsOfLife
) -> MaterializeResult:
    """README.md of the dataset: configs by language, hours, segments, speakers, quality, how to load it, provenance.

    Made from the plan and the history; at most one small commit, none when no figure changed. What people wrote into
    the card stays. The sensor `stale_card` asks for it after commits.
    """
    with user_errors(context):
        warn_if_forgetful(context)
        loaded = settings.load()
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        facts, read_up_to = read_facts(context.instance, loaded)
        if not facts.all.rows:
            context.log.warning("no rows are recorded as committed, so the card stays as it is")
            record = CardRecord(None, False, "")
        else:
            signs_of_life.stop_if_ended()
            repo = HubClient(loaded.hub, context.log.warning)
            plan_id = open_plan(loaded.plan, loaded.r2).id()
            record = commit_card(repo, facts, at, plan_id, may_shrink=config.may_shrink)
            context.log.info("the card is written" if record.committed else "the card says all this already")
            _say_what_is_theirs(context, facts, record)
    metadata = _metadata(facts, record, loaded.hub)
    return MaterializeResult(
        metadata={**metadata, READ_UP_TO: read_up_to}, data_version=DataVersion(fingerprint(facts))
    )


def _say_what_is_theirs(context: AssetExecutionContext, facts: CardFacts, record: CardRecord) -> None:
    """Settings that the card does not follow, because it says something else already."""
    said = read_yaml(read_card(record.text.encode()))
    for key, variable, wanted in (
        ("pretty_name", "DATASET_TITLE", facts.title),
        ("license", "DATASET_LICENSE", facts.license),
    ):
        if wanted and said.get(key) != wanted:
            context.log.info(f"the card keeps its {key}: {said.get(key)}; remove the line there to have {variable}")


card_job = define_asset_job(
    "card_job",
    selection=AssetSelection.assets(dataset_card),
    description="Writes the dataset card anew, if any figure changed.",
)


def _metadata(facts: CardFacts, record: CardRecord, hub: HubSettings) -> dict[str, Any]:
    page, whole = f"{hub.endpoint}/datasets/{hub.repo_id}", facts.all
    preview = (read_card(record.text.encode()).section or "no card").removeprefix(BEGIN).removesuffix(END).strip()
    picture = f"{page}/resolve/{record.oid}/{PICTURE_PATH}"
    return {
        "card": MetadataValue.url(f"{page}/blob/main/{CARD_PATH}"),
        "dagster/uri": page,
        "committed": record.committed,
        "commit_oid": record.oid or "none",
        "segments": whole.rows,
        "hours": round(whole.hours, 4),
        "episodes": whole.stats.episodes,
        "speakers": whole.stats.speakers,
        "bytes": whole.bytes,
        "languages": len(facts.languages),
        "chunks": whole.chunks,
        "chunks_counted": whole.counted,
        "chunks_planned": facts.planned,
        "plan_digest": facts.digest,
        "preview": MetadataValue.md(preview.replace(f"({PICTURE_PATH})", f"({picture})")),
    }
