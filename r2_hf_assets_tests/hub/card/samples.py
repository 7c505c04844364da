"""Facts and cards for tests."""

from r2_hf_assets.hub.card.facts import CardFacts, ChunkFacts, by_language, digest_of
from r2_hf_assets.hub.card.text import Stamp
from r2_hf_assets.shards.stats import DNSMOS_EDGES, DURATION_EDGES_S, Stats

THEN = Stamp("2026-11-25 15:04 UTC", "abc123")
LATER = Stamp("2026-11-26 09:00 UTC", "def456")


def stats(rows: int = 100) -> Stats:
    """Return Stats of rows of 4.5 s and of DNSMOS 3.2 and 3.3, half each; ten rows an episode."""
    durations, scores = [0] * (len(DURATION_EDGES_S) + 1), [0] * (len(DNSMOS_EDGES) + 1)
    durations[4] = rows
    scores[23], scores[24] = rows // 2, rows - rows // 2
    return Stats(rows, rows // 10, rows * 4.5, rows // 5, tuple(durations), tuple(scores))


def chunk(language: str, number: int = 0, rows: int = 100, *, counted: bool = True) -> ChunkFacts:
    """Return a committed chunk; 100 rows have a megabyte."""
    return ChunkFacts(language, number, f"{language}-{number}", rows, rows * 10_000, stats(rows) if counted else None)


def facts(*chunks: ChunkFacts, planned: int | None = None, title: str = "", license: str = "") -> CardFacts:
    """Return the facts of these chunks; `planned` is their number by default."""
    total = len(chunks) if planned is None else planned
    return CardFacts("me/speech", by_language(chunks), total, digest_of(chunks), title, license)
