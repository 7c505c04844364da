"""Builders for many tests: episodes in a store, chunks, settings, a Retry without waits, and a flaky obstore.

Stores are obstore's MemoryStore and LocalStore; errors are injected at one seam, a module's `obstore`.
"""

import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.exceptions import GenericError

from r2_hf_assets.bucket.segments import Segment
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import ShardSettings
from r2_hf_assets.shards.build import Build, build_chunk
from r2_hf_assets.shards.record import BuildRecord, Tally
from r2_hf_assets.shards.writer import Content

PREFIX = "processed/"
PLAN_ID = "0" * 32
NO_WAIT = Retry(attempts=5, sleep=lambda seconds: None, jitter=lambda: 0.0)


def entry(index: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a valid entry of an all_segments.json."""
    defaults = {
        "start": float(index),
        "end": index + 1.5,
        "speaker": f"SPEAKER_{index % 2:02d}",
        "text": f"words of segment {index}",
        "language": "en",
        "dnsmos": 3.25,
        "segment_id": index,
    }
    return defaults | changes


def audio(episode: str, index: int, size: int = 200) -> bytes:
    """Return incompressible, reproducible bytes in place of a segment's MP3."""
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
    """Upload "<folder>/<episode_id>", without the audio of the segments in `without`."""
    if isinstance(entries, int):
        entries = [entry(index) for index in range(entries)]
    name = episode.rsplit("/", 1)[-1]
    for index in sorted({*range(len(entries))} - {*without}):
        obstore.put(store, f"{PREFIX}{episode}/{name}_{index:06d}.mp3", audio(episode, index, size))
    data = json.dumps(entries).encode() if metadata is None else metadata
    obstore.put(store, f"{PREFIX}{episode}/all_segments.json", data)


def put_folders(store: Any, *episodes: str) -> None:
    """Create the folders "<folder>/<episode_id>" with empty metadata."""
    for episode in episodes:
        obstore.put(store, f"{PREFIX}{episode}/all_segments.json", b"[]")


def chunk_of(*episodes: str, language: str = "en", number: int = 7) -> ChunkManifest:
    return ChunkManifest(language, number, PREFIX, episodes)


def segment(index: int = 0, **changes: Any) -> Segment:
    """Return a Segment like those of `to_segment`."""
    defaults: dict[str, Any] = {
        "episode": "en/ep",
        "number": index,
        "key": f"processed/en/ep/ep_{index:06d}.mp3",
        "text": f"words of segment {index}",
        "speaker_id": "SPEAKER_00",
        "start": float(index),
        "end": index + 1.5,
        "duration": 1.5,
        "dnsmos": 3.25,
        "language": "en",
        "repaired": False,
        "settling": False,
    }
    return Segment(**defaults | changes)


def limits(folder: Path, **changes: Any) -> ShardSettings:
    """Return settings for a test's folder. Recent objects count as settled, unless `changes` sets settle_minutes."""
    defaults: dict[str, Any] = {"settle_minutes": 0.0}
    return ShardSettings(scratch=str(folder / "scratch"), kept_folder=str(folder / "kept"), **defaults | changes)


@dataclass
class MemoryUpload:
    """An upload into memory. `parts` are the finished files; a write fails once a part has `fail_at` bytes."""

    parts: list[bytes] = field(default_factory=list)
    fail_at: int | None = None
    error: Callable[[], Exception] = lambda: ConnectionError("the transfer broke off")

    def begin(self) -> "MemoryPart":
        return MemoryPart(self)


@dataclass
class MemoryPart:
    """An unfinished file."""

    upload: MemoryUpload
    data: bytearray = field(default_factory=bytearray)

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes), "hf_xet accepts only bytes"
        self.data += data
        if self.upload.fail_at is not None and len(self.data) >= self.upload.fail_at:
            raise self.upload.error()

    def finish(self) -> Content:
        self.upload.parts.append(bytes(self.data))
        return Content(len(self.data), hashlib.sha256(self.data).hexdigest())


@dataclass(frozen=True)
class MemoryBuild:
    """A build whose parts and index are in memory."""

    build: Build
    parts: list[bytes]
    index: bytes

    @property
    def record(self) -> BuildRecord:
        return self.build.record

    def files(self) -> list[pq.ParquetFile]:
        return [pq.ParquetFile(pa.BufferReader(part)) for part in self.parts]

    def rows(self) -> list[dict[str, Any]]:
        return [row for file in self.files() for row in file.read().to_pylist()]

    def index_rows(self) -> list[dict[str, Any]]:
        return pq.read_table(pa.BufferReader(self.index)).to_pylist()

    def rejects(self) -> list[dict[str, Any]]:
        """The rejects of the index: episode, segment, key, reject_reason, reject_detail and what is known besides."""
        return [row for row in self.index_rows() if row["reject_reason"] is not None]


def build_in_memory(
    chunk: ChunkManifest,
    bucket: Bucket,
    upload: MemoryUpload | None = None,
    *,
    workers: int = 8,
    retry: Retry | None = NO_WAIT,
    progress: Callable[[Tally], None] | None = None,
    **changes: Any,
) -> MemoryBuild:
    """Build a chunk with the settings `changes`, and check its ledger."""
    upload, settings = upload or MemoryUpload(), limits(Path(), **changes)
    build = build_chunk(
        chunk, bucket, upload, settings, plan_id=PLAN_ID, workers=workers, retry=retry, progress=progress
    )
    ledger = build.record.verdicts["ledger"]
    assert ledger.passed, ledger.summary
    *parts, index = upload.parts
    return MemoryBuild(build, parts, index)


@dataclass
class Flaky:
    """Replaces a function of obstore: fails the first `times` calls for each path that contains `match`."""

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
    """Replace these functions of obstore in `module` alone."""
    monkeypatch.setattr(module, "obstore", SimpleNamespace(**{**vars(obstore), **functions}))


def fetch_threads() -> list[str]:
    """Return the names of the running fetch threads."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("fetch")]
