"""Reads a chunk's entries and audio from the bucket in plan order, to build it or to verify it on the Hub."""

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from r2_hf_assets.bucket.fetch import fetch_in_order
from r2_hf_assets.bucket.response import Fetched, GetResult
from r2_hf_assets.bucket.segments import (
    METADATA_MAX_BYTES,
    Reject,
    Segment,
    UnusableMetadata,
    read_metadata,
    to_segment,
)
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import MAX_ROWGROUP_BYTES

_LOOKAHEAD_BYTES = 32 * 2**20
METADATA_MISSING = "metadata_missing"

T = TypeVar("T")
Item = Segment | Reject


@dataclass(frozen=True)
class Source:
    """A bucket in which audio of metadata younger than `settle` may still arrive."""

    bucket: Bucket
    settle: timedelta
    retry: Retry

    def items(
        self, chunk: ChunkManifest, workers: int, on_read: Callable[[str, int], None] | None = None
    ) -> Generator[Item, None, None]:
        """Yield entries as segments or rejects, unusable metadata as one reject. `on_read` gets the entry counts."""
        fetch = self._fetch(chunk.episodes, chunk.metadata_key, workers, METADATA_MAX_BYTES)
        with closing(fetch) as metadata:  # else its threads live as long as an error's traceback
            for episode, fetched in metadata:
                try:
                    if fetched is None:
                        raise UnusableMetadata(METADATA_MISSING, "no all_segments.json in the episode's folder")
                    entries, repaired = read_metadata(fetched)
                    if not entries:
                        raise UnusableMetadata("no_segments", "an empty list")
                except UnusableMetadata as problem:
                    yield Reject("episode", episode, chunk.metadata_key(episode), problem.reason, problem.detail)
                    continue
                if on_read:
                    on_read(episode, len(entries))
                settling = isinstance(fetched, Fetched) and fetched.age < self.settle
                for index, entry in enumerate(entries):
                    yield to_segment(
                        entry,
                        episode=episode,
                        key=chunk.audio_key(episode, index),
                        language=chunk.language,
                        settling=settling,
                        repaired=repaired,
                    )

    def audio(self, items: Iterable[Item], workers: int) -> Generator[tuple[Item, GetResult], None, None]:
        """Yield items in order with their audio, None for a reject."""
        return self._fetch(
            items, lambda item: item.key if isinstance(item, Segment) else None, workers, MAX_ROWGROUP_BYTES
        )

    def _fetch(
        self, items: Iterable[T], key: Callable[[T], str | None], workers: int, limit: int
    ) -> Generator[tuple[T, GetResult], None, None]:
        return fetch_in_order(
            items, key, self.bucket, workers=workers, max_bytes=_LOOKAHEAD_BYTES, limit=limit, retry=self.retry
        )
