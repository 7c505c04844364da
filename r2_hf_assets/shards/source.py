"""Reads a chunk's entries and audio from the bucket in plan order, to build it or to verify it on the Hub."""

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

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
from r2_hf_assets.parsers import MAX_ROWGROUP_BYTES
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.retry import Retry

_LOOKAHEAD_BYTES = 32 * 2**20
METADATA_MISSING = "metadata_missing"
REMOVED = "removed"
# In place of the ETag of metadata that does not exist.
ABSENT = ""

T = TypeVar("T")
Item = Segment | Reject
# Called with each episode that was read, the number of its entries, and the ETag of its metadata.
OnRead = Callable[[str, int, str], None]


@dataclass(frozen=True)
class Source:
    """A bucket in which audio of metadata younger than `settle` may still arrive."""

    bucket: Bucket
    settle: timedelta
    retry: Retry

    def items(self, chunk: ChunkManifest, workers: int, on_read: OnRead | None = None) -> Generator[Item, None, None]:
        """Yield entries as segments or rejects; an episode without entries, or removed, is one reject."""
        fetch = self._fetch(
            chunk.episodes,
            lambda episode: None if chunk.removals.has_episode(episode) else chunk.metadata_key(episode),
            workers,
            METADATA_MAX_BYTES,
        )
        with closing(fetch) as metadata:  # else its threads live as long as an error's traceback
            for episode, fetched in metadata:
                if chunk.removals.has_episode(episode):
                    yield Reject(episode, None, chunk.metadata_key(episode), REMOVED)
                    continue
                etag, entries = fetched.etag if fetched else ABSENT, list[Any]()
                try:
                    if fetched is None:
                        raise UnusableMetadata(METADATA_MISSING, "no all_segments.json in the episode's folder")
                    entries, repaired = read_metadata(fetched)
                    if not entries:
                        raise UnusableMetadata("no_segments", "an empty list")
                except UnusableMetadata as problem:
                    if on_read:
                        on_read(episode, 0, etag)
                    yield Reject(episode, None, chunk.metadata_key(episode), problem.reason, problem.detail)
                    continue
                if on_read:
                    on_read(episode, len(entries), etag)
                settling = isinstance(fetched, Fetched) and fetched.age < self.settle
                for number, entry in enumerate(entries):
                    item = to_segment(
                        entry,
                        episode=episode,
                        number=number,
                        key=chunk.audio_key(episode, number),
                        language=chunk.language,
                        settling=settling,
                        repaired=repaired,
                    )
                    speaker = item.speaker_id if isinstance(item, Segment) else None
                    removed = chunk.removals.has_segment(episode, number, speaker)
                    yield Reject(episode, number, item.key, REMOVED) if removed else item

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
