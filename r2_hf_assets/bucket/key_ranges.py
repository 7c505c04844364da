"""Split a long listing into ranges of keys that can be listed in parallel.

A page says nothing about the keys behind it, so boundaries are found by requests for one key behind a text: behind all
keys that begin as the known ones do, first by their first letter, then by two, and so on. The answers are keys at which
the letters branch: for random digits the ten digits, for counting numbers those of the first digit that differs.
"""

from collections.abc import Callable

from r2_hf_assets.bucket.pages import HIGHEST

_ENOUGH, _MOST = 8, 64


def is_past(prefix: str, end: str) -> bool:
    """Whether a listing in either order that meets `prefix` has passed everything before `end`."""
    return prefix >= end and prefix[:-1] >= end[:-1]


def find_boundaries(
    first: Callable[[str], str | None], low: str, high: str, end: str | None = None, shared: int = 0
) -> list[str]:
    """Find keys behind `high` and before `end`, ascending, that split what lies there into ranges.

    Args:
        first: requests the first key behind a text; None when there is none.
        low, high: the first and the last key of a page.
        end: None when nothing bounds the keys.
        shared: letters with which all keys begin.
    """
    boundaries: list[str] = []
    for length in range(shared + 1, _common(low, high) + 2):
        upper, begins, found = boundaries[0] if boundaries else end, high[:length], list[str]()
        while len(boundaries) + len(found) < _MOST:
            key = first(begins + HIGHEST)
            if key is None or key[:length] <= begins or (upper is not None and key >= upper):
                break
            found.append(key)
            begins = key[:length]
        boundaries = found + boundaries
        if len(boundaries) >= _ENOUGH:
            break
    return boundaries


def _common(one: str, other: str) -> int:
    """Count the letters with which both begin."""
    pairs = zip(one, other, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
