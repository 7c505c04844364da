"""What the sandbox's two trouble-makers share: which request meets which fault, and how often.

Of several faults that match a request, the one ordered first comes first; it is used up, and forgotten, after `times`.
"""

import re
from dataclasses import KW_ONLY, dataclass
from typing import TypeVar


@dataclass
class Fault:
    """Trouble for the next `times` requests that match, after letting `skip` of them pass; both count down.

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


def take_next(faults: list[F], method: str, path: str) -> F | None:
    """The fault that this request meets, if any. Counts it down and drops it from `faults`, which the caller locks."""
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
