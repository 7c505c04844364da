"""What building a chunk gave: its files, and the tally that a ledger must balance.

    planned episodes = episodes with rows + episodes rejected
    entries read     = rows + segments rejected

Stored as JSON beside the shards; its presence says that the build is whole. Version 2 added `stats`; a record of
version 1 says no version, and has none.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from r2_hf_assets.errors import ShardError
from r2_hf_assets.shards.stats import Stats

_VERSION = 2


@dataclass(frozen=True)
class ShardFile:
    """A file by name, e.g. chunk-00007.parquet. `size` in bytes, `sha256` in hex."""

    name: str
    rows: int
    size: int
    sha256: str


@dataclass
class Tally:
    """Counts of one build. Bytes are of MP3 bodies, seconds of the durations that are known."""

    episodes: int = 0
    episodes_with_rows: int = 0
    episodes_rejected: int = 0
    entries: int = 0
    rows: int = 0
    segments_rejected: int = 0
    rejects: dict[str, int] = field(default_factory=dict)
    repaired_texts: int = 0
    audio_bytes: int = 0
    audio_seconds: float = 0.0

    @property
    def balanced(self) -> bool:
        """Whether every episode and every entry ended in exactly one place."""
        return (
            self.episodes == self.episodes_with_rows + self.episodes_rejected
            and self.entries == self.rows + self.segments_rejected
        )


@dataclass(frozen=True)
class BuildRecord:
    """One built chunk. `rejects` is None when nothing was rejected, `stats` when an earlier release built it."""

    language: str
    number: int
    digest: str
    files: tuple[ShardFile, ...]
    rejects: ShardFile | None
    tally: Tally
    stats: Stats | None = None

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def hours(self) -> float:
        """Of audio; without broken time stamps where the stats know them."""
        return (self.stats.audio_seconds if self.stats else self.tally.audio_seconds) / 3600


def encode(record: BuildRecord) -> bytes:
    """The record as JSON."""
    stats = record.stats.as_json() if record.stats else None
    return json.dumps({"version": _VERSION, **asdict(record), "stats": stats}, indent=1).encode()


def decode(data: bytes) -> BuildRecord:
    """Read a record. Raises ShardError when it is damaged, or of a later release."""
    try:
        raw: dict[str, Any] = json.loads(data)
        version = raw.pop("version", 1)
        if version > _VERSION:
            raise ShardError(f"a build record is of version {version}, a later release's; update r2_hf_assets here")
        files = tuple(ShardFile(**file) for file in raw.pop("files"))
        rejects, stats = raw.pop("rejects"), raw.pop("stats", None)
        tally, counted = Tally(**raw.pop("tally")), Stats.from_json(stats) if stats else None
        return BuildRecord(
            **raw, files=files, rejects=ShardFile(**rejects) if rejects else None, tally=tally, stats=counted
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ShardError(f"a build record can't be read ({type(error).__name__}); build the chunk again") from None
