"""Faults that both servers inject, and the choice of the fault for a request.

Faults that match a request apply in the order of their injection; each is removed after `times` requests.
"""

import re
from dataclasses import KW_ONLY, dataclass
from typing import TypeVar


@dataclass
class Fault:
    """A failure of the next `times` matching requests, after `skip` matching ones are served; both count down.

    Attributes:
        path_regex: searched in the path as it was sent.
        method: None matches every method.
    """

    path_regex: str
    _: KW_ONLY
    method: str | None = None
    times: int = 1
    skip: int = 0

    def matches(self, method: str, path: str) -> bool:
        return self.method in (None, method) and re.search(self.path_regex, path) is not None


F = TypeVar("F", bound=Fault)


def next_fault(faults: list[F], method: str, path: str) -> F | None:
    """Return the fault for this request and count it down. The caller holds the lock of `faults`."""
    for fault in faults:
        if not fault.matches(method, path):
            continue
        if fault.skip > 0:
            fault.skip -= 1
            continue
        fault.times -= 1
        if fault.times <= 0:
            faults.remove(fault)
        return fault
    return None
