"""The order of a listing, on which it relies: where it goes on, and that nothing is planned twice.

S3 and R2 list by whole key, so `a-b/` comes before `a/`. Servers that keep real folders (SeaweedFS) list by the name of
the folder, `a` before `a-b`. A listing must keep to one of the two. Some servers list the last common prefix of a
page again as the first of the next one: a prefix that equals the one before is left out.
"""

from collections.abc import Sequence
from itertools import groupby, islice
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
        kept = [self._last, *prefixes]
        if not (by_key := _ascending(kept)):
            kept = [prefix for prefix, _ in groupby(kept)]
            by_key = _ascending(kept)
        by_key = by_key and self._by_key
        by_name = self._by_name and _ascending([prefix[:-1] for prefix in kept])
        if not (by_key or by_name):
            return None
        self._by_key, self._by_name, self._last = by_key, by_name, kept[-1]
        return kept[1:]


def reached(prefix: str, end: str) -> bool:
    """Whether a listing in either order that meets `prefix` has left what lies before `end`."""
    return prefix >= end and prefix[:-1] >= end[:-1]


def _ascending(texts: Sequence[str]) -> bool:
    return all(map(lt, texts, islice(texts, 1, None)))
