"""The figures on the card: of each committed chunk, of each language, of the whole dataset.

A chunk's rows and bytes are always known. Its Stats (hours, speakers, histograms) are counted when it is built, so a
chunk that was recorded from the Hub or imported from the script has none. Then the sums over Stats cover fewer chunks,
and the card states how many.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, reduce
from operator import add

from r2_hf_assets.hub.releases import Release
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.shards.stats import Stats


@dataclass(frozen=True)
class Figures:
    """Sums over `chunks`, of which `counted` have Stats, summed in `stats`. `bytes` are of the Parquet files."""

    chunks: int = 0
    rows: int = 0
    bytes: int = 0
    counted: int = 0
    stats: Stats = field(default_factory=Stats)

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


@dataclass(frozen=True)
class CardFacts:
    """The input of the card.

    Attributes:
        planned: number of chunks of the plan.
        digest: of the committed chunks (digest_of).
        indexed: a committed chunk has an index.
        chunks: committed ones, also of languages without a row.
        removed_segments, removed_episodes: what they leave out by amendments, also in languages without a row.
        releases: newest first.
    """

    repo_id: str
    languages: dict[str, Figures]
    planned: int
    digest: str
    indexed: bool
    title: str = ""
    license: str = ""
    endpoint: str = "https://huggingface.co"
    removed_segments: int = 0
    removed_episodes: int = 0
    releases: tuple[Release, ...] = ()
    chunks: int = 0

    @property
    def committed(self) -> int:
        return max(self.chunks, self.all.chunks)

    @cached_property
    def all(self) -> Figures:
        """The figures of all languages."""
        return reduce(add, self.languages.values(), Figures())


def figures_of(rows: int, size: int, stats: Stats | None) -> Figures:
    """Return the figures of one chunk."""
    return Figures(1, rows, size, int(stats is not None), stats or Stats())


def digest_of(chunks: Mapping[Name, str]) -> str:
    """Return 128 bits of SHA-256 over the sorted names and digests of the chunks."""
    lines = sorted(f"{language} {number} {digest}\n" for (language, number), digest in chunks.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:32]


def by_language(chunks: Mapping[Name, Figures]) -> dict[str, Figures]:
    """Return the figures of each language that has rows: one without rows has no files to load."""
    sums: dict[str, Figures] = {}
    for (language, _), figures in sorted(chunks.items(), key=lambda item: item[0]):
        sums[language] = sums.get(language, Figures()) + figures
    return {language: figures for language, figures in sums.items() if figures.rows}
