"""The figures on the card: of each committed chunk, of each language, of the whole dataset.

A chunk's rows and bytes are always known. Its Stats (hours, speakers, histograms) are counted when it is built, so a
chunk that was recorded from the Hub or imported from the script has none. Then the sums over Stats cover fewer chunks,
and the card states how many.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property, reduce
from operator import add

from r2_hf_assets.shards.stats import Stats


@dataclass(frozen=True)
class ChunkFacts:
    """A committed chunk. `bytes` are of its Parquet files."""

    language: str
    number: int
    digest: str
    rows: int
    bytes: int
    stats: Stats | None = None


@dataclass(frozen=True)
class Figures:
    """Sums over `chunks`, of which `counted` have Stats; `stats` is the sum over these."""

    chunks: int = 0
    rows: int = 0
    bytes: int = 0
    counted: int = 0
    stats: Stats = field(default_factory=Stats)

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


@dataclass(frozen=True)
class CardFacts:
    """The input of the card. `planned` counts the chunks of the plan, `digest` is of the committed ones (digest_of)."""

    repo_id: str
    languages: dict[str, Figures]
    planned: int
    digest: str
    title: str = ""
    license: str = ""
    endpoint: str = "https://huggingface.co"

    @cached_property
    def all(self) -> Figures:
        """The figures of all languages."""
        return reduce(add, self.languages.values(), Figures())


def digest_of(chunks: Iterable[ChunkFacts]) -> str:
    """Return 128 bits of SHA-256 over the sorted names and digests of the chunks."""
    lines = sorted(f"{chunk.language} {chunk.number} {chunk.digest}\n" for chunk in chunks)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:32]


def by_language(chunks: Iterable[ChunkFacts]) -> dict[str, Figures]:
    """Return the figures of each language that has rows: one without rows has no files to load."""
    sums: dict[str, Figures] = {}
    for chunk in sorted(chunks, key=lambda chunk: (chunk.language, chunk.number)):
        counted = chunk.stats is not None
        figures = Figures(1, chunk.rows, chunk.bytes, int(counted), chunk.stats or Stats())
        sums[chunk.language] = sums.get(chunk.language, Figures()) + figures
    return {language: figures for language, figures in sums.items() if figures.rows}
