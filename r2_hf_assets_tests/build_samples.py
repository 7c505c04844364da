"""Builders that many tests share: episodes in a store, chunks, limits, a Retry that never waits, and a flaky obstore.

Stores are real ones (obstore's MemoryStore and LocalStore); trouble is added at one seam, the module's `obstore`.
"""

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import obstore
from obstore.exceptions import GenericError

from r2_hf_assets.bucket.segments import Segment
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import ShardSettings

PREFIX = "processed/"
NO_WAIT = Retry(attempts=5, sleep=lambda seconds: None, jitter=lambda: 0.0)


def entry(index: int = 0, **changes: Any) -> dict[str, Any]:
    """One entry of an all_segments.json, as the uploader writes it."""
    usual = {
        "start": float(index),
        "end": index + 1.5,
        "speaker": f"SPEAKER_{index % 2:02d}",
        "text": f"words of segment {index}",
        "language": "en",
        "dnsmos": 3.25,
        "segment_id": index,
    }
    return usual | changes


def audio(episode: str, index: int, size: int = 200) -> bytes:
    """Bytes that stand for a segment's MP3: always the same ones, and hard to compress."""
    return random.Random(f"{episode}:{index}").randbytes(size)


def put_episode(
    store: Any,
    episode: str,
    entries: list[Any] | int = 3,
    *,
    size: int = 200,
    without: Iterable[int] = (),
    metadata: bytes | None = None,
) -> None:
    """Upload "<folder>/<episode_id>" whole, but for the audio of the segments in `without`."""
    if isinstance(entries, int):
        entries = [entry(index) for index in range(entries)]
    name = episode.rsplit("/", 1)[-1]
    for index in sorted({*range(len(entries))} - {*without}):
        obstore.put(store, f"{PREFIX}{episode}/{name}_{index:06d}.mp3", audio(episode, index, size))
    data = json.dumps(entries).encode() if metadata is None else metadata
    obstore.put(store, f"{PREFIX}{episode}/all_segments.json", data)


def put_folders(store: Any, *episodes: str) -> None:
    """Make the folders of "<folder>/<episode_id>" exist, with nothing of use in them."""
    for episode in episodes:
        obstore.put(store, f"{PREFIX}{episode}/all_segments.json", b"[]")


def chunk_of(*episodes: str, language: str = "en", number: int = 7) -> Chunk:
    return Chunk(language, number, PREFIX, episodes)


def segment(index: int = 0, **changes: Any) -> Segment:
    """A segment as `to_segment` makes it."""
    usual: dict[str, Any] = {
        "episode": "en/ep",
        "key": f"processed/en/ep/ep_{index:06d}.mp3",
        "text": f"words of segment {index}",
        "speaker_id": "SPEAKER_00",
        "duration": 1.5,
        "dnsmos": 3.25,
        "language": "en",
        "repaired": False,
        "settling": False,
    }
    return Segment(**usual | changes)


def limits(folder: Path, **changes: Any) -> ShardSettings:
    """Settings for a test's folder. What was just written counts as settled, unless `changes` say otherwise."""
    usual: dict[str, Any] = {"settle_minutes": 0.0}
    return ShardSettings(shard_url=str(folder / "shards"), scratch=str(folder / "scratch"), **usual | changes)


@dataclass
class Flaky:
    """Stands for one function of obstore: fails `times` times a path that holds `match`, then does its work."""

    real: Callable[..., Any]
    times: int
    match: str = ""
    error: Callable[[], Exception] = lambda: GenericError("503 from the server")

    def __post_init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, store: Any, path: str | None = None, *rest: Any, **options: Any) -> Any:
        with self._lock:
            self.calls[str(path)] += 1
            tries = self.calls[str(path)]
        if self.match in str(path) and tries <= self.times:
            raise self.error()
        return self.real(store, path, *rest, **options)


def use_obstore(monkeypatch: Any, module: Any, **functions: Callable[..., Any]) -> None:
    """Give `module` an obstore of its own with these functions in it; nobody else's changes."""
    monkeypatch.setattr(module, "obstore", SimpleNamespace(**{**vars(obstore), **functions}))


def fetch_threads() -> list[str]:
    """Names of the fetch workers that are alive."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("fetch")]
