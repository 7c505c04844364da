"""The result of a comparison: differences by kind, advice for each kind, and counts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from r2_hf_assets.hub.reads import Inventory
from r2_hf_assets.plan.chunks import ChunkRef, Name
from r2_hf_assets.shards.names import is_index
from r2_hf_assets.shards.record import ShardFile
from r2_hf_assets.shards.stats import Stats
from r2_hf_assets.verdict import Severity, Verdict


class Kind(StrEnum):
    """Kinds of differences, in the order of a report."""

    ABSENT = "recorded_absent"
    OTHER_CONTENT = "other_content"
    STALE = "stale_parts"
    OTHER_DIGEST = "recorded_for_other_digest"
    NOT_PLANNED = "recorded_not_planned"
    UNRECORDED = "present_unrecorded"
    UNVERIFIABLE = "unverifiable"
    UNKNOWN = "unknown_file"
    ROWS_NOT_PLANNED = "rows_not_planned"
    UNREADABLE_INDEX = "unreadable_index"


ADVICE: Mapping[Kind, str] = {
    Kind.ABSENT: "recorded as committed, but not (all) on the Hub: reconcile records it as due, the next run builds it",
    Kind.OTHER_CONTENT: "the Hub's file is not the one that was committed: delete it there if it may go, then process",
    Kind.STALE: "files of a planned chunk that are none of its shards: its next commit removes those that are recorded "
    "and names the others",
    Kind.OTHER_DIGEST: "recorded for other members than the plan has: it is due, the next run builds it again",
    Kind.NOT_PLANNED: "recorded, but the plan has no such chunk: was STATE_URL changed, or lost? restore the plan",
    Kind.UNRECORDED: "on the Hub, but not recorded: reconcile --record records it, else the next run builds it again",
    Kind.UNVERIFIABLE: "on the Hub, but not verified to be the complete chunk: it stays due, the next run builds it",
    Kind.UNKNOWN: "under data/, but of no planned chunk, so its rows may be duplicates: delete it, or restore its plan",
    Kind.ROWS_NOT_PLANNED: "rows of episodes that the chunk's manifest lacks: restore the plan, or delete the chunk's "
    "files on the Hub, then reconcile and process",
    Kind.UNREADABLE_INDEX: "damaged, or of another release: delete it on the Hub, then reconcile and process",
}

# Kinds of due chunks, which the next runs build. All others mean missing, wrong or duplicate rows.
_DUE = (Kind.OTHER_DIGEST, Kind.UNRECORDED, Kind.UNVERIFIABLE)
_MAX_LISTED = 20


@dataclass(frozen=True)
class Difference:
    """One difference. `chunk` is None for a file of no planned chunk."""

    kind: Kind
    chunk: Name | None
    detail: str


@dataclass(frozen=True)
class Recovered:
    """A chunk that is verified to be on the Hub: its parts, and its index if it has one. `how` names the method."""

    chunk: ChunkRef
    files: tuple[ShardFile, ...]
    how: str
    stats: Stats | None = None

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files if not is_index(file.path))

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files if not is_index(file.path))


@dataclass(frozen=True)
class Due:
    """A chunk to record as due again, with the reason, and the files that its next commit may replace."""

    name: Name
    why: str
    files: tuple[ShardFile, ...] = ()


@dataclass
class Report:
    """Differences and counts. Counts are chunks, except `files`.

    Attributes:
        revision: the Hub's head; None when there is no repo.
        nothing: due chunks without a build or a file on the Hub.
        as_built: chunks whose files on the Hub are those of the commit's record or the build record.
        unchecked: recorded chunks with files on the Hub, but no record of their files to compare with.
        recordable: chunks whose files on the Hub are verified, and that are not recorded.
        unproven: due chunks with files on the Hub that no record names.
        lost: recorded chunks whose files on the Hub are not the committed ones.
        unindexed: recorded chunks without an index on the Hub.
        hub: the files that were compared.
    """

    revision: str | None
    planned: int = 0
    recorded: int = 0
    nothing: int = 0
    as_built: int = 0
    unchecked: int = 0
    files: int = 0
    differences: list[Difference] = field(default_factory=list)
    recordable: list[Recovered] = field(default_factory=list)
    unproven: list[ChunkRef] = field(default_factory=list)
    lost: list[Due] = field(default_factory=list)
    unindexed: list[ChunkRef] = field(default_factory=list)
    hub: Inventory = field(default_factory=lambda: Inventory(None))

    @property
    def due(self) -> int:
        return self.planned - self.recorded

    @property
    def numbers(self) -> dict[str, int]:
        names = ("planned", "recorded", "due", "nothing", "as_built", "unchecked", "files")
        return {name: getattr(self, name) for name in names} | {"without_index": len(self.unindexed)}

    @property
    def counts(self) -> dict[str, int]:
        """Number of differences by kind, in the order of Kind."""
        counts = Counter(difference.kind for difference in self.differences)
        return {kind.value: counts[kind] for kind in Kind if counts[kind]}

    def add(self, differences: Iterable[Difference]) -> None:
        self.differences += differences
        self.sort()

    def sort(self) -> None:
        """Order the differences by kind, language, chunk and detail."""
        self.differences.sort(key=lambda d: (list(Kind).index(d.kind), d.chunk or ("", -1), d.detail))


def check_report(report: Report, summary: str, lines: Sequence[str]) -> Verdict:
    """Return ERROR for missing, wrong or duplicate rows, WARN when the next runs repair all differences."""
    numbers = {
        **report.numbers,
        "revision": report.revision or "none",
        "differences": len(report.differences),
        "differences_by_kind": report.counts,
        "first_differences": list(lines[:_MAX_LISTED]),
        "what_to_do": {kind: ADVICE[Kind(kind)] for kind in report.counts},
    }
    repaired = all(difference.kind in _DUE for difference in report.differences)
    return Verdict(not report.differences, Severity.WARN if repaired else Severity.ERROR, summary, numbers)
