"""Checks of all that the job needs, before any work: a module for each subject."""

from dataclasses import dataclass
from functools import partial

OK, WARN, FAIL = "ok", "warn", "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line: level, subject, what was observed, and what to do ("" for nothing).

    Levels: "ok"; "warn", works or is unknown; "FAIL", the job will not work.
    """

    level: str
    name: str
    seen: str
    advice: str = ""


ok = partial(Finding, OK)
warn = partial(Finding, WARN)
fail = partial(Finding, FAIL)
