"""What Dagster's UI shows of a chunk and of the plan at a glance: a picture, counts by language, no wall of numbers."""

import json
import re
from base64 import b64decode

from r2_hf_assets_tests.support.world import World, materializations


def test_a_chunk_has_its_picture_and_the_plan_its_counts(in_process: World) -> None:
    world = in_process
    summary = world.upload(episodes={"en": 3}, awkward=False)
    world.store().delete(summary.rows[0].key)
    world.scan()
    assert [done.error for done in world.build_due()] == [None]
    (shards,), (commit,) = materializations(world, "parquet_shards"), materializations(world, "hub_commit")
    image = re.fullmatch(r"!\[durations and DNSMOS\]\(data:image/svg\+xml;base64,([\w+/=]+)\)", shards["pictures"])
    assert image and f"Duration, seconds: {len(summary.rows) - 1} rows;" in b64decode(image[1]).decode()
    # The UI gives every item of a list a line.
    assert len(json.dumps(commit["stats"], indent=2).splitlines()) < 10
    (plan,) = materializations(world, "work_plan")
    assert plan["by_language"] == [
        {"language": "en", "episodes_seen": 3, "newly_planned": 3, "waiting": 0, "chunks": 1}
    ]


def test_a_chunk_without_a_row_has_none(in_process: World) -> None:
    world = in_process
    world.store().put("processed/en/empty/all_segments.json", b"[]")
    world.scan()
    assert [done.error for done in world.build_due()] == [None]
    (shards,) = materializations(world, "parquet_shards")
    assert shards["rejects_by_reason"] == {"no_segments": 1} and "pictures" not in shards
