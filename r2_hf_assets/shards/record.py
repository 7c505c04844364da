"""What building a chunk gave: its files, and the tally that a ledger must balance.

    planned episodes = episodes with rows + episodes rejected
    entries read     = rows + segments rejected

Stored as JSON beside the shards; its presence says that the build is whole.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from r2_hf_assets.errors import ShardError


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
    """One built chunk. `rejects` is None when nothing was rejected."""

    language: str
    number: int
    digest: str
    files: tuple[ShardFile, ...]
    rejects: ShardFile | None
    tally: Tally

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)


def encode(record: BuildRecord) -> bytes:
    """The record as JSON."""
    return json.dumps(asdict(record), indent=1).encode()


def decode(data: bytes) -> BuildRecord:
    """Read a record. Raises ShardError when it is damaged."""
    try:
        raw: dict[str, Any] = json.loads(data)
        files = tuple(ShardFile(**file) for file in raw.pop("files"))
        rejects = raw.pop("rejects")
        tally = Tally(**raw.pop("tally"))
        return BuildRecord(**raw, files=files, rejects=ShardFile(**rejects) if rejects else None, tally=tally)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ShardError(f"a build record can't be read ({type(error).__name__}); build the chunk again") from None
