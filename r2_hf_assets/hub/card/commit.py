"""Write the card on the Hub: one small commit when the figures changed, none when they did not.

As for a chunk, the card is written on top of the very head that it was read at, so an edit that is made meanwhile is
not lost: the next attempt reads it. After a conflict a card waits longer than a chunk's commit, so chunks go first.
"""

from dataclasses import dataclass

from r2_hf_assets.errors import CardError
from r2_hf_assets.hub.card.facts import CardFacts
from r2_hf_assets.hub.card.merge import CARD_PATH, read_card, write_card
from r2_hf_assets.hub.card.text import (
    PICTURE_PATH,
    Stamp,
    chunks_of,
    default_yaml,
    has_picture,
    owned_yaml,
    section,
    stamp_of,
)
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.errors import one_line
from r2_hf_assets.hub.ownership import refuse_other_plan
from r2_hf_assets.retry import CARD_RETRY
from r2_hf_assets.shards.picture import draw


@dataclass(frozen=True)
class CardRecord:
    """The state of the card.

    `oid` is the commit that was made, or the head whose card was up to date; None when there is no repo yet.
    """

    oid: str | None
    committed: bool
    text: str


def commit_card(repo: HubClient, facts: CardFacts, at: str, plan_id: str, *, may_shrink: bool = False) -> CardRecord:
    """Bring README.md and its picture up to date with `facts`.

    Args:
        at: when the facts were read, e.g. "2026-11-25 15:04 UTC".
        may_shrink: write also when the card on the Hub counts more chunks.

    Raises:
        CardError: the card on the Hub can't be read, or the Hub refuses the new one; nothing changed.
        AccessError, ForeignDataset, RetriesExhausted: as of commit_chunk.
    """

    def attempt() -> CardRecord:
        head = repo.head()
        if head is None:
            return CardRecord(None, False, "")
        refuse_other_plan(repo, head, plan_id)
        before = repo.read(CARD_PATH, head)
        there, here = chunks_of(read_card(before).section), facts.all.chunks
        if there > here and not may_shrink:
            # One of several histories, or a new one after a loss: its card would not be true.
            raise CardError(
                f"the card on the Hub counts {there} chunks and this history {here}; record what is there with `r2-hf "
                "reconcile --record`, or leave the card to where all chunks are recorded, or set may_shrink: true"
            )
        after, drawn = whole_card(before, facts, Stamp(at, head)), has_picture(facts)
        if after == before and (not drawn or repo.files([PICTURE_PATH], head)):
            return CardRecord(head, False, after.decode())
        picture = {PICTURE_PATH: draw(facts.all.stats).encode()} if drawn else {}
        message = f"Update the card: {facts.all.rows} segments in {here} chunks"
        if refused := repo.validate_card(after):
            raise CardError(f"the Hub refuses the YAML of {CARD_PATH}: {one_line(refused)}; mend it on the Hub")
        oid, _ = repo.commit([], [], head, message, {CARD_PATH: after, **picture})
        return CardRecord(oid, True, after.decode())

    # Repeating an attempt is safe: it begins by reading the head.
    return repo.call_with_retry("write the card of", attempt, CARD_RETRY)


def whole_card(before: bytes | None, facts: CardFacts, stamp: Stamp) -> bytes:
    """Return the card that `facts` make of the one on the Hub; the very same one when only the stamp would differ."""
    card = read_card(before)
    owned, defaults = owned_yaml(facts), default_yaml(facts)

    def stamped(with_stamp: Stamp) -> bytes:
        text = section(facts, with_stamp, alone=not card.written_by_people)
        return write_card(card, owned, defaults, text)

    old = stamp_of(card.section)
    if old is not None and (same := stamped(old)) == before:
        return same
    return stamped(stamp)
