"""What is due: planned, and not recorded with the chunk's digest. What is unplanned: recorded, and not planned.

Pure: the plan and the history are arguments, so the command line, sensors and tests share one rule.
"""

from collections.abc import Collection, Iterable, Mapping

from r2_hf_assets.plan.chunks import ChunkRef, Name

# Recorded in place of a digest: for a partition without a chunk, and for a chunk that must be built or committed again.
UNPLANNED = "unplanned"
DUE_AGAIN = "due"


def in_grid(planned: Iterable[ChunkRef], languages: Collection[str]) -> list[ChunkRef]:
    """Return the chunks of these languages, which are those of LANGUAGES, in plan order."""
    return [chunk for chunk in planned if chunk.language in languages]


def find_due(planned: Iterable[ChunkRef], recorded: Mapping[Name, str | None]) -> list[ChunkRef]:
    """Return planned chunks whose latest materialization is absent or has another digest, in plan order."""
    return [chunk for chunk in planned if recorded.get(chunk.name) != chunk.digest]


def find_unplanned(planned: Iterable[Name], recorded: Mapping[Name, str | None]) -> list[Name]:
    """Return chunks that are recorded with a digest and not planned: the plan was lost or replaced.

    Planning their episodes again under new numbers would leave the old files on the Hub beside the new ones.
    """
    known = set(planned)
    return sorted(name for name, digest in recorded.items() if is_digest(digest) and name not in known)


def is_digest(recorded: str | None) -> bool:
    """Return whether a partition's record is a chunk's digest."""
    return bool(recorded) and recorded not in (UNPLANNED, DUE_AGAIN)
