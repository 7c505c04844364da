"""The result of a check: a verdict with numbers, made from problems.

All problems are counted by kind and a few examples of each are kept, so the verdict stays small if all rows are wrong.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

_EXAMPLES = 5
_EXAMPLE_CHARACTERS = 200


class Severity(StrEnum):
    """ERROR: the data is wrong. WARN: the data needs review."""

    ERROR = "ERROR"
    WARN = "WARN"


@dataclass(frozen=True)
class Verdict:
    """The result of a check. `summary` is one line; `numbers` holds JSON values."""

    passed: bool
    severity: Severity
    summary: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Problems:
    """Problems by kind: the count and the first examples."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, example: str, count: int = 1) -> None:
        """Add `count` problems of a kind, e.g. "segment_lost", "en/ep 7"."""
        self.counts[kind] += count
        examples = self.examples.setdefault(kind, [])
        if len(examples) < _EXAMPLES:
            examples.append(example[:_EXAMPLE_CHARACTERS])

    def verdict(self, good: str, numbers: Mapping[str, Any], severity: Severity = Severity.ERROR) -> Verdict:
        """Return a passed verdict with the summary `good` if there are no problems, else a failed one."""
        if not self.counts:
            return Verdict(True, severity, good, numbers)
        kinds = [f"{count} x {kind} ({self.examples[kind][0]})" for kind, count in self.counts.most_common()]
        problems = {"problems": self.counts.total(), "problems_by_kind": dict(self.counts), "examples": self.examples}
        return Verdict(False, severity, "; ".join(kinds), {**numbers, **problems})
