"""What changed between two revisions, by the rows of indexes in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pytest

from r2_hf_assets.errors import ShardError
from r2_hf_assets.hub.card.facts import Figures, figures_of
from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.figures import compare_revisions
from r2_hf_assets.hub.reads import HubReader
from r2_hf_assets.hub.releases import Changes
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.shards.index import INDEX_SCHEMA
from r2_hf_assets.shards.stats import Stats
from r2_hf_assets_tests.hub.fake_repo import FakeRepo

A, B = ("en", 0), ("en", 1)
# (episode, segment, reject_reason)
Rows = list[tuple[str, int | None, str | None]]


def rows(episode: str, *segments: int) -> Rows:
    return [(episode, segment, None) for segment in segments]


@dataclass(frozen=True)
class Memory(HubReader):
    """A revision of these indexes; a chunk's content is its SHA-256."""

    chunks: dict[Name, Rows] = field(default_factory=dict)

    def indexes(self) -> dict[Name, RemoteFile]:
        return {name: RemoteFile(f"{name[1]}", 1, repr(content)) for name, content in self.chunks.items()}

    def columns(self, file: RemoteFile, names: Sequence[str]) -> pa.Table:
        content = self.chunks["en", int(file.path)]
        if not content:
            raise ShardError("it is damaged")
        values = [
            {"episode": episode, "segment": segment, "key": f"{episode}/{segment}", "reject_reason": reason}
            for episode, segment, reason in content
        ]
        return pa.Table.from_pylist(values, pa.schema([INDEX_SCHEMA.field(name) for name in names]))


def compare(before: dict[Name, Rows], after: dict[Name, Rows], figures: dict[Name, Figures] | None = None):
    old, new = (Memory(FakeRepo(), "oid-0", chunks) for chunks in (before, after))
    return compare_revisions(old, old.indexes(), new, new.indexes(), figures or {})


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (rows("en/a", 0, 1), rows("en/a", 0, 1), Changes()),
        # The text or the place of a row changed, not the key.
        (rows("en/a", 0, 1), rows("en/a", 1, 0), Changes()),
        (rows("en/a", 0, 1), [*rows("en/a", 0), ("en/a", 1, "audio_missing")], Changes(removed_rows=1)),
        (rows("en/a", 0), [*rows("en/a", 0, 1), *rows("en/b", 0)], Changes(added_rows=2, added_episodes=1)),
        # One speaker of an episode, then the whole episode.
        (rows("en/a", 0, 1, 2), [*rows("en/a", 1), ("en/a", 0, "removed"), ("en/a", 2, "removed")],
         Changes(removed_rows=2)),
        ([*rows("en/a", 0, 1), *rows("en/b", 0)], [("en/a", None, "removed"), *rows("en/b", 0)],
         Changes(removed_rows=2, removed_episodes=1)),
        # Rejected before, and removed since: no release had it.
        ([("en/a", 0, "audio_missing"), *rows("en/a", 1)], [("en/a", 0, "removed"), *rows("en/a", 1)], Changes()),
    ],
)  # fmt: skip
def test_a_chunk_that_changed_is_compared_by_the_keys_of_its_rows(before: Rows, after: Rows, changes: Changes) -> None:
    assert compare({A: before}, {A: after}) == changes


def test_new_and_lost_chunks_are_counted() -> None:
    one, two = rows("en/a", 0, 1), rows("en/b", 0)
    assert compare({}, {A: one, B: two}) == Changes(3, 2)
    assert compare({A: one}, {B: two}) == Changes(1, 1, 2, 1)
    figures = {B: figures_of(7, 1, Stats(rows=7, episodes=2))}
    assert compare({A: one}, {A: one, B: two}, figures) == Changes(7, 2), "by its figures, without reading it"
    assert compare({A: one}, {A: one, B: two}, {B: figures_of(7, 1, None)}) == Changes(1, 1)


def test_a_damaged_index_is_one_line() -> None:
    with pytest.raises(ShardError, match="it is damaged"):
        compare({A: rows("en/a", 0)}, {A: []})
