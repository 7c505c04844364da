"""The order of a listing, on which it relies: where it goes on, and that nothing is planned twice.

S3 and R2 list by whole key, so `a-b/` comes before `a/`. Servers that keep real folders (SeaweedFS) list by the name of
the folder, `a` before `a-b`. A listing must keep to one of the two. Some servers list the last common prefix of a
page again as the first of the next one: a prefix that equals the one before is left out.
"""

from collections.abc import Sequence
from operator import lt


class Order:
    """Compares each prefix of a listing with the one before, across its pages.

    Args:
        last: the prefix behind which the listing begins; "" for its beginning.
    """

    def __init__(self, last: str = "") -> None:
        self._last = last
        self._by_key = self._by_name = True

    def follow(self, prefixes: Sequence[str]) -> list[str] | None:
        """The prefixes without repeats; None when they are not in order, and then they count as not seen."""
        before = [self._last, *prefixes]
        kept = [prefix for last, prefix in zip(before, prefixes, strict=False) if prefix != last]
        by_key = self._by_key and _ascending([self._last, *kept])
        by_name = self._by_name and _ascending([prefix[:-1] for prefix in (self._last, *kept)])
        if not (by_key or by_name):
            return None
        self._by_key, self._by_name = by_key, by_name
        self._last = kept[-1] if kept else self._last
        return kept


def reached(prefix: str, end: str) -> bool:
    """Whether a listing in either order that meets `prefix` has left what lies before `end`."""
    return prefix >= end and prefix[:-1] >= end[:-1]


def _ascending(texts: Sequence[str]) -> bool:
    return all(map(lt, texts, texts[1:]))
