"""Metadata for the UI: histograms of a chunk, counts by language, compact statistics."""

import json
import re
from base64 import b64decode

from r2_hf_assets_tests.support.world import World, materializations


def test_a_chunk_has_histograms_and_the_plan_has_counts(in_process: World) -> None:
    world = in_process
    summary = world.upload(episodes={"en": 3}, awkward=False)
    world.store().delete(summary.rows[0].key)
    world.scan()
    assert [run.error for run in world.build_due()] == [None]
    (shards,), (commit,) = materializations(world, "parquet_shards"), materializations(world, "hub_commit")
    image = re.fullmatch(r"!\[durations and DNSMOS\]\(data:image/svg\+xml;base64,([\w+/=]+)\)", shards["pictures"])
    assert image and f"Duration, seconds: {len(summary.rows) - 1} rows;" in b64decode(image[1]).decode()
    # The UI shows one line per list item.
    assert len(json.dumps(commit["stats"], indent=2).splitlines()) <= 10
    (plan,) = materializations(world, "work_plan")
    assert plan["by_language"] == [
        {"language": "en", "episodes_seen": 3, "newly_planned": 3, "waiting": 0, "chunks": 1}
    ]


def test_a_chunk_without_rows_has_no_histograms(in_process: World) -> None:
    world = in_process
    world.store().put("processed/en/empty/all_segments.json", b"[]")
    world.scan()
    assert [run.error for run in world.build_due()] == [None]
    (shards,) = materializations(world, "parquet_shards")
    assert shards["rejects_by_reason"] == {"no_segments": 1} and "pictures" not in shards
