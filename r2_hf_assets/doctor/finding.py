"""What the doctor says: one line a finding, with what was seen and what to do, and how a check is kept from hanging.

A check is a function that returns findings. `examine` runs all of them side by side, each in a thread of its own with
the same deadline: a name server or an endpoint that swallows packets costs that check its answer and nothing else, and
one that breaks is a finding too. Whatever is said goes through `hide`, so that no secret is shown even where a server
or a library quotes one.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

# Clients give up before (see PATIENCE_S) and say why; this is for what they can't bound, such as looking up a name.
DEADLINE_S = 12.0
# How long one request may take to be answered.
PATIENCE_S = 5.0

_SHORTEST_SECRET = 4  # a shorter one would be found inside of words


class Level(StrEnum):
    """OK: as it should be. WARN: works, or can't be told; read it. FAIL: the job will not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it is, what was seen, and what to do ("" for nothing)."""

    name: str
    level: Level
    seen: str
    advice: str = ""


Check = Callable[[], Sequence[Finding]]


def ok(name: str, seen: str) -> Finding:
    return Finding(name, Level.OK, seen)


def warn(name: str, seen: str, advice: str = "") -> Finding:
    return Finding(name, Level.WARN, seen, advice)


def fail(name: str, seen: str, advice: str = "") -> Finding:
    return Finding(name, Level.FAIL, seen, advice)


def examine(checks: Mapping[str, Check], deadline_s: float = DEADLINE_S) -> list[Finding]:
    """Every check's findings, in the order of `checks`, within the deadline whatever they do."""
    found: dict[str, Sequence[Finding]] = {}
    threads = {name: threading.Thread(target=_run, args=(name, checks[name], found), daemon=True) for name in checks}
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + deadline_s
    for thread in threads.values():
        thread.join(max(0.0, end - time.monotonic()))
    late = f"no answer within {deadline_s:g} s"
    return [
        finding
        for name in checks
        for finding in found.get(name)
        or [fail(name, late, "busy machine: try again; else check address, network and proxy")]
    ]


def _run(name: str, check: Check, found: dict[str, Sequence[Finding]]) -> None:
    try:
        found[name] = check()
    except Exception as error:
        first_line = (str(error).splitlines() or [""])[0][:200]
        found[name] = [fail(name, f"could not be looked at: {type(error).__name__}: {first_line}")]


def hide(findings: Iterable[Finding], secrets: Iterable[str]) -> list[Finding]:
    """The findings with every secret in them replaced, should a server or a library have quoted one."""
    hidden = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]

    def clean(text: str) -> str:
        for secret in hidden:
            text = text.replace(secret, "***")
        return " ".join(text.split())

    return [replace(finding, seen=clean(finding.seen), advice=clean(finding.advice)) for finding in findings]
