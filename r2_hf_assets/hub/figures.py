"""The figures of chunks by their indexes at one revision of the dataset, and what changed between two revisions.

An index's content is fixed by its SHA-256. So figures that were recorded for that SHA-256 are the index's, and its
header is read only where none are recorded. Two revisions with the same index of a chunk have the same rows of it.
"""

from collections.abc import Mapping

import pyarrow.compute as pc

from r2_hf_assets.background import map_in_order
from r2_hf_assets.hub.card.facts import Figures, figures_of
from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.reads import READERS, HubReader
from r2_hf_assets.hub.releases import Changes
from r2_hf_assets.plan.chunks import Name

Indexes = Mapping[Name, RemoteFile]


def read_figures(reader: HubReader, indexes: Indexes, known: Mapping[str, Figures]) -> dict[Name, Figures]:
    """Return the figures of each index at the reader's revision; `known` has recorded ones by the index's SHA-256.

    Raises ShardError when an index that must be read is damaged.
    """
    found = {name: known[sha256] for name, file in indexes.items() if (sha256 := file.sha256 or "") in known}
    for name, header in reader.headers({name: file for name, file in indexes.items() if name not in found}):
        rows, size = sum(one.rows for one in header.files), sum(one.size for one in header.files)
        found[name] = figures_of(rows, size, header.stats)
    return found


def compare_revisions(
    old: HubReader, before: Indexes, new: HubReader, after: Indexes, figures: Mapping[Name, Figures]
) -> Changes:
    """Return what changed from the revision of `old` to that of `new`, whose indexes are `before` and `after`.

    A chunk with the same index is not read, a new one is counted by its `figures`. Of a chunk that changed, the keys of
    its rows are compared. A chunk that moved to another number (a new plan) counts as removed and added.
    """

    def compare(name: Name) -> Changes:
        chunk = figures.get(name)
        if name not in before and chunk is not None and chunk.counted:
            return Changes(chunk.rows, chunk.stats.episodes)
        then, now = _read_rows(old, before.get(name)), _read_rows(new, after.get(name))
        episodes_then, episodes_now = set(then.values()), set(now.values())
        return Changes(
            len(now.keys() - then.keys()),
            len(episodes_now - episodes_then),
            len(then.keys() - now.keys()),
            len(episodes_then - episodes_now),
        )

    then, now = ({name: file.sha256 for name, file in indexes.items()} for indexes in (before, after))
    changed = sorted(name for name in {**then, **now} if name not in then or name not in now or then[name] != now[name])
    return sum(map_in_order(compare, changed, READERS, "indexes"), Changes())


def _read_rows(reader: HubReader, index: RemoteFile | None) -> dict[str, str]:
    """Return the episode of each row by its key; {} for a revision without the chunk."""
    if index is None:
        return {}
    table = reader.columns(index, ["episode", "key", "reject_reason"])
    rows = table.filter(pc.is_null(table["reject_reason"]))
    return dict(zip(rows["key"].to_pylist(), rows["episode"].to_pylist(), strict=True))
