"""The result of a check: a verdict with numbers, made from findings.

A check reads and counts, and never repairs. All findings of a kind are counted and a few are kept, so that a chunk in
which everything is wrong gives a verdict that can still be read and stored.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

_EXAMPLES = 5
_EXAMPLE_CHARACTERS = 200


class Severity(StrEnum):
    """ERROR: the data is wrong. WARN: somebody should look."""

    ERROR = "ERROR"
    WARN = "WARN"


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check. `summary` is one line; `numbers` holds plain numbers, texts, lists and dicts."""

    passed: bool
    severity: Severity
    summary: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Findings:
    """What is wrong, by kind: its count, and the first few examples."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, example: str, count: int = 1) -> None:
        """Add `count` findings of a kind, e.g. "segment_lost", "en/ep 7"."""
        self.counts[kind] += count
        kept = self.examples.setdefault(kind, [])
        if len(kept) < _EXAMPLES:
            kept.append(example[:_EXAMPLE_CHARACTERS])

    def verdict(self, good: str, numbers: Mapping[str, Any], severity: Severity = Severity.ERROR) -> Verdict:
        """Passed with the line `good` when nothing was found, else failed with this severity."""
        if not self.counts:
            return Verdict(True, severity, good, numbers)
        kinds = [f"{count} x {kind} ({self.examples[kind][0]})" for kind, count in self.counts.most_common()]
        found = {"problems": self.counts.total(), "problems_by_kind": dict(self.counts), "examples": self.examples}
        return Verdict(False, severity, "; ".join(kinds), {**numbers, **found})
