"""Write the card on the Hub: one small commit when the figures changed, none when they did not.

As for a chunk, the commit's parent is the head that the card was read at, so a concurrent edit is not lost: the next
attempt reads it. After a conflict a card waits longer than a chunk's commit, so chunks have precedence.
"""

from dataclasses import dataclass, replace

from r2_hf_assets.errors import CardError
from r2_hf_assets.hub.card.facts import CardFacts
from r2_hf_assets.hub.card.merge import CARD_PATH, read_card, write_card
from r2_hf_assets.hub.card.text import (
    PICTURE_PATH,
    Stamp,
    default_yaml,
    has_picture,
    owned_yaml,
    read_chunk_count,
    read_stamp,
    section,
)
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.errors import one_line, revision_is_gone
from r2_hf_assets.hub.ownership import refuse_other_plan
from r2_hf_assets.hub.releases import read_log
from r2_hf_assets.plural import plural
from r2_hf_assets.retry import CARD_RETRY
from r2_hf_assets.shards.picture import draw


@dataclass(frozen=True)
class CardRecord:
    """The card's new commit, or the head that is up to date: None when the repo does not exist."""

    oid: str | None
    committed: bool


def commit_card(repo: HubClient, facts: CardFacts, at: str, plan_id: str, *, may_shrink: bool = False) -> CardRecord:
    """Update README.md and its picture to `facts`, read `at`, e.g. "2026-11-25 15:04 UTC".

    Raises CardError if the card on the Hub can't be read, if it counts more chunks and not `may_shrink`, or if the Hub
    refuses the new one. AccessError, ForeignDataset and RetriesExhausted are as in commit_chunk.
    """

    def attempt() -> CardRecord:
        head = repo.head()
        if head is None:
            return CardRecord(None, False)
        shown = replace(facts, releases=tuple(one.release for one in read_log(repo, head).releases))
        contents = draft_card(repo, head, shown, at, plan_id, may_shrink=may_shrink)
        if not contents:
            return CardRecord(head, False)
        message = f"Update the card: {plural(facts.all.rows, 'segment')} in {plural(facts.committed, 'chunk')}"
        oid, _ = repo.commit([], [], head, message, contents)
        return CardRecord(oid, True)

    # Repeating an attempt is safe: it begins by reading the head.
    return repo.call_on_head("write the card of", attempt, CARD_RETRY)


def draft_card(
    repo: HubClient, head: str, facts: CardFacts, at: str, plan_id: str, *, may_shrink: bool = False
) -> dict[str, bytes]:
    """Return the files to commit on `head`, none when it has them. Raises ForeignDataset, CardError as commit_card."""
    refuse_other_plan(repo, head, plan_id)
    before = repo.read(CARD_PATH, head)
    on_hub, recorded = read_chunk_count(read_card(before).section), facts.committed
    if on_hub > recorded and not may_shrink:
        # One of several histories, or a new one after a loss, has incomplete figures.
        raise CardError(
            f"the card on the Hub counts {plural(on_hub, 'chunk')} and this history {recorded}, so it was left as it "
            "is: record the others by `r2-hf reconcile --record`, or write it on the machine that has them; if the "
            "dataset did shrink, materialize dataset_card once with the config may_shrink: true"
        )
    after, drawn = update_card(before, facts, Stamp(at, head)), has_picture(facts)
    if after == before and (old := read_stamp(read_card(before).section)) and not _exists(repo, old.revision):
        after = update_card(before, facts, Stamp(at, head), renew=True)
    if after == before and (not drawn or repo.files([PICTURE_PATH], head)):
        return {}
    if errors := repo.validate_card(after):
        raise CardError(f"the Hub refuses the YAML of {CARD_PATH}: {one_line(errors)}; fix it on the Hub")
    picture = {PICTURE_PATH: draw(facts.all.stats).encode()} if drawn else {}
    return {CARD_PATH: after, **picture}


def _exists(repo: HubClient, revision: str) -> bool:
    try:
        repo.files([CARD_PATH], revision)
    except Exception as error:
        if revision_is_gone(error):
            return False
        raise
    return True


def update_card(before: bytes | None, facts: CardFacts, stamp: Stamp, *, renew: bool = False) -> bytes:
    """Return the card on the Hub with the figures of `facts`; unchanged if only the stamp would differ, unless `renew`.

    A stamp is renewed when its revision does not exist any more, because the history was squashed.
    """
    card = read_card(before)

    def write(with_stamp: Stamp) -> bytes:
        text = section(facts, with_stamp, alone=not card.has_other_text)
        return write_card(card, owned_yaml(facts), default_yaml(facts), text)

    old = read_stamp(card.section)
    return before if before and old and not renew and write(old) == before else write(stamp)
