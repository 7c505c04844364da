"""The card on the Hub: one small commit when the figures changed, none when they did not.

As for a chunk, the card is written on top of the very head that it was read at, so what a person writes at the same
moment is not lost: whoever comes second reads again. Chunks go first. A card that meets one of their commits waits
longer than they do, and nobody waits for a card: it holds nothing while it waits.
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
from r2_hf_assets.hub.ownership import refuse_other_plan
from r2_hf_assets.retry import CARD_RETRY
from r2_hf_assets.shards.picture import draw

# huggingface_hub asks the Hub about the YAML before it commits, and says its answer in a ValueError.
_REFUSED = "Invalid metadata in README.md"


@dataclass(frozen=True)
class CardRecord:
    """Where the card stands.

    Attributes:
        oid: the commit that was made, or the head that the card was found true at; None when there is no repo yet.
        committed: whether this call made a commit.
        text: the card as it stands now.
    """

    oid: str | None
    committed: bool
    text: str


def commit_card(
    repo: HubClient,
    facts: CardFacts,
    at: str,
    plan_id: str,
    *,
    may_shrink: bool = False,
) -> CardRecord:
    """Bring README.md and its picture to say what `facts` say.

    Args:
        at: when the facts were read, e.g. "2026-11-25 15:04 UTC".
        plan_id: the plan that the facts are of.
        may_shrink: write also when the card that stands there counts more chunks.

    Raises:
        CardError: the card that stands there can't be read, or the Hub refuses the new one; nothing changed.
        AccessError: the Hub refuses the token or the repo.
        ForeignDataset: the repo belongs to another plan.
        GaveUp: passing trouble outlasted the retries.
    """

    def attempt() -> CardRecord:
        head = repo.head()
        if head is None:
            return CardRecord(None, False, "")
        refuse_other_plan(repo, head, plan_id)
        standing = repo.read(CARD_PATH, head)
        if not may_shrink:
            _refuse_to_shrink(standing, facts)
        now = whole_card(standing, facts, Stamp(at, head))
        lacking = has_picture(facts) and not repo.files([PICTURE_PATH], head)
        if now == standing and not lacking:
            return CardRecord(head, False, now.decode())
        picture = {PICTURE_PATH: draw(facts.all.stats).encode()} if has_picture(facts) else {}
        oid = _commit(
            repo,
            {CARD_PATH: now, **picture},
            head,
            f"Update the card: {facts.all.rows} segments in {facts.all.chunks} chunks",
        )
        return CardRecord(oid, oid != head, now.decode())

    # Repeating an attempt is safe: it begins with a fresh look at the head.
    return repo.call_with_retry("write the card of", attempt, CARD_RETRY)


def _refuse_to_shrink(standing: bytes | None, facts: CardFacts) -> None:
    """A history that knows fewer chunks is one of several, or a new one after a loss: its card would not be true."""
    there, here = chunks_of(read_card(standing).section), facts.all.chunks
    if there > here:
        raise CardError(
            f"the card on the Hub counts {there} chunks and this history {here}; record what is there with `r2-hf "
            "reconcile --record`, or leave the card to where all chunks are recorded, or set may_shrink: true"
        )


def whole_card(standing: bytes | None, facts: CardFacts, stamp: Stamp) -> bytes:
    """The card that `facts` make of the one that stands there; the very same one when only the stamp would differ.

    Raises:
        CardError: the card that stands there can't be read.
    """
    card = read_card(standing)
    owned, defaults = owned_yaml(facts), default_yaml(facts)

    def stamped(with_stamp: Stamp) -> bytes:
        text = section(facts, with_stamp, alone=not card.written_by_people)
        return write_card(card, owned, defaults, text)

    before = stamp_of(card.section)
    if before is not None and stamped(before) == standing:
        return standing
    return stamped(stamp)


def _commit(repo: HubClient, files: dict[str, bytes], parent: str, message: str) -> str:
    try:
        oid, _ = repo.commit_contents(files, parent, message)
    except ValueError as error:
        if not str(error).startswith(_REFUSED):
            raise
        said = " ".join(str(error).removeprefix(_REFUSED).lstrip(".\n -").split())
        raise CardError(f"the Hub refuses the YAML of {CARD_PATH}: {said[:200]}; mend it on the Hub") from None
    return oid
