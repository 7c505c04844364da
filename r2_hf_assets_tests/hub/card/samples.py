"""Facts and cards for tests."""

from dataclasses import dataclass

from r2_hf_assets.hub.card.facts import CardFacts, Figures, by_language, digest_of, figures_of
from r2_hf_assets.hub.card.text import Stamp
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.shards.stats import DNSMOS_EDGES, DURATION_EDGES_S, Stats

THEN = Stamp("2026-11-25 15:04 UTC", "abc123")
LATER = Stamp("2026-11-26 09:00 UTC", "def456")


@dataclass(frozen=True)
class Chunk:
    """A committed chunk."""

    name: Name
    digest: str
    figures: Figures


def stats(rows: int = 100) -> Stats:
    """Return Stats of rows of 4.5 s and of DNSMOS 3.2 and 3.3, half each; ten rows an episode."""
    durations, scores = [0] * (len(DURATION_EDGES_S) + 1), [0] * (len(DNSMOS_EDGES) + 1)
    durations[4] = rows
    scores[23], scores[24] = rows // 2, rows - rows // 2
    return Stats(rows, rows // 10, rows * 4.5, rows // 5, tuple(durations), tuple(scores))


def chunk(language: str, number: int = 0, rows: int = 100, *, counted: bool = True) -> Chunk:
    """Return a committed chunk; 100 rows have a megabyte."""
    figures = figures_of(rows, rows * 10_000, stats(rows) if counted else None)
    return Chunk((language, number), f"{language}-{number}", figures)


def facts(*chunks: Chunk, planned: int | None = None, title: str = "", license: str = "") -> CardFacts:
    """Return the facts of these chunks; `planned` is their number by default."""
    total = len(chunks) if planned is None else planned
    languages = by_language({one.name: one.figures for one in chunks})
    digest = digest_of({one.name: one.digest for one in chunks})
    return CardFacts("me/speech", languages, total, digest, True, title, license)
