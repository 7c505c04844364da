"""Split a long listing into ranges of keys that can be listed in parallel.

Boundaries are found by requests for the first key behind a prefix: one letter of the known keys, then two, and so on.
For random digits that is one key for each digit, for consecutive numbers one for each value of the first digit that
differs.
"""

from collections.abc import Callable
from os.path import commonprefix

from r2_hf_assets.bucket.pages import HIGHEST

_ENOUGH, _MAX_BOUNDARIES = 8, 64


def is_past(prefix: str, end: str) -> bool:
    """Return whether `prefix` is behind everything before `end`, in either listing order (pages.Order)."""
    return prefix >= end and prefix[:-1] >= end[:-1]


def find_boundaries(
    first: Callable[[str], str | None], low: str, high: str, end: str | None = None, shared: int = 0
) -> list[str]:
    """Return keys behind `high` and before `end` (None: open), ascending, that split this interval into ranges.

    `first` requests the first key behind a text; `low` and `high` are the first and the last key of a page, and
    `shared` is the length of the prefix that all keys share.
    """
    boundaries: list[str] = []
    common = len(commonprefix((low, high)))  # noqa: RUF071 - characters are meant, not path components
    for length in range(shared + 1, common + 2):
        upper, prefix, added = boundaries[0] if boundaries else end, high[:length], list[str]()
        while len(boundaries) + len(added) < _MAX_BOUNDARIES:
            key = first(prefix + HIGHEST)
            if key is None or key[:length] <= prefix or (upper is not None and key >= upper):
                break
            added.append(key)
            prefix = key[:length]
        boundaries = added + boundaries
        if len(boundaries) >= _ENOUGH:
            break
    return boundaries
