"""Ours up to the shards: scan, then fetch and build every planned chunk, without Dagster and without an upload."""

import time
from dataclasses import dataclass

from bench.jobs import report
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.plan.scan import ScanRules, scan
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import ScanSettings, load_for_scan
from r2_hf_assets.shards.build import build_chunk
from r2_hf_assets.shards.writer import Content


@dataclass
class Discard:
    """An upload that discards and counts bytes."""

    size: int = 0
    closed = False

    def begin(self) -> "Discard":
        return Discard()

    def write(self, data: bytes) -> None:
        self.size += len(data)

    def finish(self) -> Content:
        return Content(self.size, "")

    def flush(self) -> None:
        """Called by pyarrow."""

    def close(self) -> None:
        """Called by pyarrow."""


def planned(settings: ScanSettings) -> list[ChunkManifest]:
    """Scan a bucket that has no plan yet, and return its chunks."""
    rules = ScanRules(frozenset(settings.plan.languages), settings.plan.episodes_per_chunk)
    return scan(Bucket(settings.r2), open_plan(settings.plan, settings.r2), rules).new_chunks


def main() -> None:
    settings = load_for_scan()
    chunks = planned(settings)
    plan_id = open_plan(settings.plan, settings.r2).ensure_id()
    bucket = Bucket(settings.r2)
    started, objects = time.monotonic(), 0
    for chunk in chunks:
        build = build_chunk(chunk, bucket, Discard(), settings.shards, plan_id=plan_id, workers=settings.r2.workers)
        objects += build.record.tally.rows + build.record.tally.episodes
    report(seconds=time.monotonic() - started, objects=objects)


if __name__ == "__main__":
    main()
