"""The build record of a chunk: its files, index, tally, figures and verdicts, stored as JSON beside the plan.

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

_VERSION = 4


@dataclass(frozen=True)
class ShardFile:
    """A file by its path in the repo, e.g. data/en/chunk-00007.parquet. `size` in bytes, `sha256` in hex."""

    path: str
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
    def index_rows(self) -> int:
        return self.rows + sum(self.rejects.values())

    @property
    def episodes_read(self) -> int:
        """Episodes with a row or rejected so far."""
        return self.episodes_with_rows + self.episodes_rejected


@dataclass(frozen=True)
class BuildRecord:
    """One built chunk.

    Attributes:
        index: the chunk's index (index.py), with a row for each entry read.
        verdicts: by check.
        earlier: SHA-256 of the files of earlier builds, which may be on the Hub without a record in the history.
        dataset: URL of the repo whose content store has the files.
    """

    language: str
    number: int
    digest: str
    files: tuple[ShardFile, ...]
    index: ShardFile | None
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
    def all_files(self) -> tuple[ShardFile, ...]:
        """The files and the index."""
        return (*self.files, self.index) if self.index else self.files

    @property
    def sha256s(self) -> frozenset[str]:
        """SHA-256 of every file that this build or an earlier one may have uploaded."""
        return frozenset((*(file.sha256 for file in self.all_files), *self.earlier))


def encode(record: BuildRecord) -> bytes:
    return json.dumps({"version": _VERSION, **asdict(record)}, indent=1).encode()


def sha256s_in(data: bytes) -> frozenset[str]:
    """Return the SHA-256 of every file in a stored record of whichever version; none in a damaged one."""
    try:
        raw = json.loads(data)
        files = [*raw["files"], *([raw["index"]] if raw.get("index") else [])]
        return frozenset((*(file["sha256"] for file in files), *raw["earlier"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return frozenset()


def decode(data: bytes) -> BuildRecord:
    """Decode a record. Raises ShardError when it is damaged or of another version."""
    try:
        raw: dict[str, Any] = json.loads(data)
        if raw.pop("version") != _VERSION:
            raise ValueError
        typed = {
            "files": tuple(ShardFile(**file) for file in raw["files"]),
            "index": ShardFile(**raw["index"]) if raw["index"] else None,
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
