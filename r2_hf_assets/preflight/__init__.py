"""Checks before the work that everything it needs is there: a module for each thing that is looked at."""

from dataclasses import dataclass
from functools import partial

OK, WARN, FAIL = "ok", "warn", "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line: how it is, what was looked at, what was seen, and what to do ("" for nothing).

    Levels: "ok", as it should be; "warn", works or can't be told; "FAIL", the job will not work.
    """

    level: str
    name: str
    seen: str
    advice: str = ""


ok = partial(Finding, OK)
warn = partial(Finding, WARN)
fail = partial(Finding, FAIL)


def first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
