"""Ours without Dagster: plan, build and commit every chunk by the data plane's own functions.

What a run of many chunks takes beyond this is what Dagster takes. Also tells how the time divides.
"""

import time
from functools import partial

from bench.jobs import say
from bench.jobs.build import planned
from r2_hf_assets.bucket.client import object_store
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import commit_chunk
from r2_hf_assets.hub.ownership import Claim
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import load
from r2_hf_assets.shards.build import build_chunk
from r2_hf_assets.shards.store import open_shards


def main() -> None:
    settings = load(needs=["r2", "hub"])
    assert settings.r2 is not None and settings.hub is not None
    chunks = planned(settings)
    shards = open_shards(settings.shards, settings.r2)
    claim = Claim(open_plan(settings.plan, settings.r2).id(), lambda _: {})
    building, committing, done_at = 0.0, 0.0, []
    for chunk in chunks:
        started = time.monotonic()
        with shards.building() as folder:
            bucket = object_store(settings.r2)
            build = build_chunk(chunk, bucket, folder, settings.shards, workers=settings.r2.workers)
            shards.publish(build)
        built = time.monotonic()
        commit_chunk(HubClient(settings.hub), build.record, partial(shards.files, chunk.language), claim)
        shards.discard(build.record)
        done_at.append(time.monotonic())
        building += built - started
        committing += done_at[-1] - built
    say(
        build=building,
        commit=committing,
        chunks=len(chunks),
        seconds_a_chunk=(done_at[-1] - done_at[0]) / max(1, len(chunks) - 1),
    )


if __name__ == "__main__":
    main()
