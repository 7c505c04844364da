"""Ours up to the shards: scan, then fetch and build every planned chunk; no Dagster, and the bytes go nowhere.

What an upload does besides is left out: cutting, deduplicating, hashing and sending.
"""

import time
from dataclasses import dataclass

from bench.jobs import say
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.plan.scan import ScanRules, scan
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import ScanSettings, load_for_scan
from r2_hf_assets.shards.build import build_chunk
from r2_hf_assets.shards.writer import Content


@dataclass
class Nowhere:
    """An upload that counts."""

    size: int = 0
    closed = False

    def begin(self) -> "Nowhere":
        return Nowhere()

    def write(self, data: bytes) -> None:
        self.size += len(data)

    def finish(self) -> Content:
        return Content(self.size, "")

    def flush(self) -> None:
        """Called by pyarrow."""

    def close(self) -> None:
        """Called by pyarrow."""


def planned(settings: ScanSettings) -> list[ChunkManifest]:
    """Scan a bucket that has no plan yet; its chunks."""
    rules = ScanRules(frozenset(settings.plan.languages), settings.plan.episodes_per_chunk)
    return scan(Bucket(settings.r2), open_plan(settings.plan, settings.r2), rules).new_chunks


def main() -> None:
    settings = load_for_scan()
    chunks = planned(settings)
    bucket = Bucket(settings.r2)
    started, objects = time.monotonic(), 0
    for chunk in chunks:
        build = build_chunk(chunk, bucket, Nowhere(), settings.shards, workers=settings.r2.workers)
        objects += build.record.tally.rows + build.record.tally.episodes
    say(seconds=time.monotonic() - started, objects=objects)


if __name__ == "__main__":
    main()
