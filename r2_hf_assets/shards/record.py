"""The build record of a chunk: its files, tally, figures and verdicts, stored as JSON beside the plan.

A stored record means that the build is complete.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from r2_hf_assets.errors import ShardError
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.shards.stats import Stats
from r2_hf_assets.verdict import Severity, Verdict

_VERSION = 3


@dataclass(frozen=True)
class ShardFile:
    """A file by name, e.g. chunk-00007.parquet. `size` in bytes, `sha256` in hex."""

    name: str
    rows: int
    size: int
    sha256: str


@dataclass
class Tally:
    """Counts of one build; shards/audit.py has the equations that they satisfy. `audio_bytes` counts MP3 bodies."""

    episodes: int = 0
    episodes_with_rows: int = 0
    episodes_rejected: int = 0
    entries: int = 0
    rows: int = 0
    segments_rejected: int = 0
    rejects: dict[str, int] = field(default_factory=dict)
    repaired_texts: int = 0
    audio_bytes: int = 0

    @property
    def episodes_read(self) -> int:
        """Episodes with a row or rejected so far."""
        return self.episodes_with_rows + self.episodes_rejected


@dataclass(frozen=True)
class BuildRecord:
    """One built chunk. `rejects` is None without rejects.

    Attributes:
        verdicts: by check.
        earlier: SHA-256 of the files of earlier builds, which may be on the Hub without a record in the history.
        dataset: URL of the repo whose content store has the files.
    """

    language: str
    number: int
    digest: str
    files: tuple[ShardFile, ...]
    rejects: ShardFile | None
    tally: Tally
    stats: Stats = field(default_factory=Stats)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    earlier: tuple[str, ...] = ()
    dataset: str = ""

    @property
    def name(self) -> Name:
        return self.language, self.number

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def sha256s(self) -> frozenset[str]:
        """SHA-256 of every file that this build or an earlier one may have uploaded."""
        return frozenset((*(file.sha256 for file in self.files), *self.earlier))


def encode(record: BuildRecord) -> bytes:
    return json.dumps({"version": _VERSION, **asdict(record)}, indent=1).encode()


def decode(data: bytes) -> BuildRecord:
    """Decode a record. Raises ShardError when it is damaged or of another version."""
    try:
        raw: dict[str, Any] = json.loads(data)
        if raw.pop("version") != _VERSION:
            raise ValueError
        typed = {
            "files": tuple(ShardFile(**file) for file in raw["files"]),
            "rejects": ShardFile(**raw["rejects"]) if raw["rejects"] else None,
            "tally": Tally(**raw["tally"]),
            "stats": Stats.from_json(raw["stats"]),
            "verdicts": {
                name: Verdict(**{**verdict, "severity": Severity(verdict["severity"])})
                for name, verdict in raw["verdicts"].items()
            },
            "earlier": tuple(raw["earlier"]),
        }
        return BuildRecord(**{**raw, **typed})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ShardError(f"a build record can't be read ({type(error).__name__}); build the chunk again") from None
