"""Where to cut a long listing into ranges that can be listed side by side.

A page says nothing about the names behind it, but a question for one name behind a text does. Asked behind everything
that begins as the known names do, first by their first letter, then by two, and so on, the answers are names at which
the letters branch: for names of random digits the ten digits, for numbers that count up those of the first digit in
which they differ. Each answer costs a request for one name.
"""

from collections.abc import Callable

# Behind every text that begins alike; XML can hold it.
HIGHEST = "\U0010fffd"
_ENOUGH, _MOST = 8, 64

# The first name behind a text; None when there is none.
First = Callable[[str], str | None]


def find_cuts(first: First, low: str, high: str, end: str | None = None) -> list[str]:
    """Names behind `high` and before `end`, ascending, that cut what lies there into ranges.

    Args:
        low, high: two names that are known, the first and the last of a page.
        end: None where nothing bounds the names.
    """
    cuts: list[str] = []
    for length in range(1, _common(low, high) + 2):
        upper, begins, found = cuts[0] if cuts else end, high[:length], list[str]()
        while len(cuts) + len(found) < _MOST:
            name = first(begins + HIGHEST)
            if name is None or name[:length] <= begins or (upper is not None and name >= upper):
                break
            found.append(name)
            begins = name[:length]
        cuts = found + cuts
        if len(cuts) >= _ENOUGH:
            break
    return cuts


def _common(one: str, other: str) -> int:
    """How many letters two names begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
