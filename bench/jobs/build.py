"""Ours up to the shards: scan, then fetch and build every planned chunk; no Dagster, no upload."""

import time

from bench.jobs import say
from r2_hf_assets.bucket.client import object_store
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.plan.scan import ScanRules, scan
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import Settings, load
from r2_hf_assets.shards.build import build_chunk
from r2_hf_assets.shards.store import open_shards


def planned(settings: Settings) -> list[Chunk]:
    """Scan a bucket that has no plan yet; its chunks."""
    assert settings.r2 is not None
    rules = ScanRules(frozenset(settings.plan.languages), settings.plan.episodes_per_chunk)
    return scan(object_store(settings.r2), open_plan(settings.plan, settings.r2), rules).new_chunks


def main() -> None:
    settings = load(needs=["r2"])
    assert settings.r2 is not None
    chunks = planned(settings)
    shards = open_shards(settings.shards, settings.r2)
    bucket = object_store(settings.r2)
    started, objects = time.monotonic(), 0
    for chunk in chunks:
        with shards.building() as folder:
            build = build_chunk(chunk, bucket, folder, settings.shards, workers=settings.r2.workers)
            shards.publish(build)
        objects += build.record.tally.rows + build.record.tally.episodes
    say(seconds=time.monotonic() - started, objects=objects)


if __name__ == "__main__":
    main()
