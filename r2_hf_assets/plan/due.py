"""What is due: planned, and not yet recorded with the chunk's digest.

Pure: the plan and the history come in as data, so the command line, sensors and tests ask the same question.
"""

from collections.abc import Iterable, Mapping

from r2_hf_assets.plan.chunks import Planned


def due(planned: Iterable[Planned], recorded: Mapping[tuple[str, int], str | None]) -> list[Planned]:
    """Planned chunks whose latest record is absent or names another digest, in plan order.

    Args:
        recorded: digest of the latest materialization by (language, chunk number).
    """
    return [chunk for chunk in planned if recorded.get((chunk.language, chunk.number)) != chunk.digest]
