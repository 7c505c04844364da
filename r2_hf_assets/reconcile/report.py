"""What a comparison found: kinds of differences with what to do about each, and the numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from r2_hf_assets.plan.chunks import ChunkRef, Name
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


ADVICE: Mapping[Kind, str] = {
    Kind.ABSENT: "recorded as committed, but not (all) on the Hub: reconcile records it as due, the next run mends it",
    Kind.OTHER_CONTENT: "the Hub's file is not the one that was committed: delete it there if it may go, then process",
    Kind.STALE: "files of a planned chunk that are none of its shards: the next run removes those that were ours, and "
    "names those that were not",
    Kind.OTHER_DIGEST: "recorded for other members than the plan has: it is due, the next run makes it anew",
    Kind.NOT_PLANNED: "recorded, but the plan has no such chunk: was STATE_URL changed, or lost? restore the plan",
    Kind.UNRECORDED: "on the Hub, but not recorded: reconcile --record records it, else the next run does it again",
    Kind.UNVERIFIABLE: "on the Hub, but it can't be shown to be this chunk, whole: it stays due, the next run mends it",
    Kind.UNKNOWN: "under data/, but of no planned chunk, so its rows may be double: delete it, or restore its plan",
}

# Of chunks that are due, so the next runs mend them. All others mean that rows are missing, other or double.
_MENDED = (Kind.OTHER_DIGEST, Kind.UNRECORDED, Kind.UNVERIFIABLE)
_LISTED = 20


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be. `chunk` is None for a file that belongs to none."""

    kind: Kind
    chunk: Name | None
    detail: str


@dataclass(frozen=True)
class Recovered:
    """A chunk that is verifiably on the Hub: what its record needs. `how` names what it was verified by.

    `stats` are known from the build record alone.
    """

    chunk: ChunkRef
    files: tuple[ShardFile, ...]
    how: str
    stats: Stats | None = None

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)


@dataclass(frozen=True)
class Due:
    """A chunk that is to be recorded as due again, with the reason.

    The next commit of the chunk may replace these files, and no others.
    """

    name: Name
    why: str
    files: tuple[ShardFile, ...] = ()


@dataclass
class Report:
    """The outcome. Numbers are chunks, but for `files`.

    Attributes:
        revision: the Hub's head; None when there is no repo.
        nothing: of the due chunks, those that stand nowhere but in the plan.
        as_built: chunks whose files on the Hub are those of the commit's record or the build record.
        unchecked: recorded chunks that are there, with no record of their files to compare with.
        recordable: chunks that are on the Hub as they were built, and not recorded.
        unproven: due chunks of which the Hub has files that are not known to be theirs.
        lost: recorded chunks that are not on the Hub as they were committed.
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

    @property
    def due(self) -> int:
        return self.planned - self.recorded

    @property
    def numbers(self) -> dict[str, int]:
        names = ("planned", "recorded", "due", "nothing", "as_built", "unchecked", "files")
        return {name: getattr(self, name) for name in names}

    @property
    def counts(self) -> dict[str, int]:
        """Differences by kind, in the order of Kind."""
        found = Counter(difference.kind for difference in self.differences)
        return {kind.value: found[kind] for kind in Kind if found[kind]}

    def sort(self) -> None:
        """Order the differences by kind, language, chunk and detail."""
        order = list(Kind)
        self.differences.sort(key=lambda d: (order.index(d.kind), d.chunk or ("", -1), d.detail))


def check_report(report: Report, summary: str, lines: Sequence[str]) -> Verdict:
    """The report as a check: ERROR when rows are missing, other or double, WARN when the next runs mend it.

    `lines` are the differences in words.
    """
    numbers = {
        **report.numbers,
        "revision": report.revision or "none",
        "differences": len(report.differences),
        "differences_by_kind": report.counts,
        "first_differences": list(lines[:_LISTED]),
        "what_to_do": {kind: ADVICE[Kind(kind)] for kind in report.counts},
    }
    harmless = all(difference.kind in _MENDED for difference in report.differences)
    return Verdict(not report.differences, Severity.WARN if harmless else Severity.ERROR, summary, numbers)
