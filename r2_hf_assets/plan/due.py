"""What is due: planned, and not yet recorded with the chunk's digest. And what is lost: recorded, and not planned.

Pure: the plan and the history are arguments, so the command line, sensors and tests share one rule.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from r2_hf_assets.plan.chunks import Planned

# Recorded in place of a digest: the plan had nothing in this cell of the grid.
UNPLANNED = "unplanned"
# The same, for a chunk that is due whatever was recorded before: the Hub lost it, or what it holds is to be built anew.
DUE_AGAIN = "due"
_NO_DIGESTS = frozenset((UNPLANNED, DUE_AGAIN))


def in_grid(planned: Iterable[Planned], languages: Collection[str]) -> tuple[list[Planned], Counter[str]]:
    """The planned chunks that are partitions under LANGUAGES, in plan order; and how many of each other language.

    The others can't be run or queried in Dagster until LANGUAGES names their language again.
    """
    inside: list[Planned] = []
    left_out: Counter[str] = Counter()
    for chunk in planned:
        if chunk.language in languages:
            inside.append(chunk)
        else:
            left_out[chunk.language] += 1
    return inside, left_out


def due(planned: Iterable[Planned], recorded: Mapping[tuple[str, int], str | None]) -> list[Planned]:
    """Planned chunks whose latest record is absent or names another digest, in plan order.

    Args:
        recorded: digest of the latest materialization by (language, chunk number).
    """
    return [chunk for chunk in planned if recorded.get((chunk.language, chunk.number)) != chunk.digest]


def lost(planned: Iterable[tuple[str, int]], recorded: Mapping[tuple[str, int], str | None]) -> list[tuple[str, int]]:
    """Chunks that the history records by a digest and the plan does not have: the plan's folder was lost or replaced.

    Numbering their episodes anew would give other members to their names, and leave their files on the Hub beside the
    new ones.
    """
    known = set(planned)
    return sorted(name for name, digest in recorded.items() if is_digest(digest) and name not in known)


def is_digest(recorded: str | None) -> bool:
    """Whether what is recorded for a partition names the members of a chunk."""
    return bool(recorded) and recorded not in _NO_DIGESTS
