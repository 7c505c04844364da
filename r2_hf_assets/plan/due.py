"""What is due: planned, and not yet recorded with the chunk's digest. And what is lost: recorded, and not planned.

Pure: the plan and the history are arguments, so the command line, sensors and tests share one rule.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from r2_hf_assets.plan.chunks import ChunkRef, Name

# Recorded in place of a digest: the plan had nothing in this cell of the grid.
UNPLANNED = "unplanned"
# The same, for a chunk that is due whatever was recorded before: the Hub lost it, or what it holds is to be built anew.
DUE_AGAIN = "due"


def in_grid(planned: Iterable[ChunkRef], languages: Collection[str]) -> tuple[list[ChunkRef], Counter[str]]:
    """The planned chunks that are partitions under LANGUAGES, in plan order; and how many of each other language.

    The others can't be run or queried in Dagster until LANGUAGES names their language again.
    """
    chunks = list(planned)
    inside = [chunk for chunk in chunks if chunk.language in languages]
    return inside, Counter(chunk.language for chunk in chunks if chunk.language not in languages)


def due(planned: Iterable[ChunkRef], recorded: Mapping[Name, str | None]) -> list[ChunkRef]:
    """Planned chunks whose latest materialization is absent or names another digest, in plan order."""
    return [chunk for chunk in planned if recorded.get(chunk.name) != chunk.digest]


def lost(planned: Iterable[Name], recorded: Mapping[Name, str | None]) -> list[Name]:
    """Chunks that the history records by a digest and the plan does not have: the plan was lost or replaced.

    Numbering their episodes anew would leave their files on the Hub beside the new ones.
    """
    known = set(planned)
    return sorted(name for name, digest in recorded.items() if is_digest(digest) and name not in known)


def is_digest(recorded: str | None) -> bool:
    """Whether what is recorded for a partition names the members of a chunk."""
    return bool(recorded) and recorded not in (UNPLANNED, DUE_AGAIN)
