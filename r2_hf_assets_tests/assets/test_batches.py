"""Which chunks go into one run: rows of the grid without a gap, so that a range takes nothing else."""

import os
import random
import subprocess
import sys

import pytest
from dagster import DagsterInstance, PartitionKeyRange

from r2_hf_assets.assets.batches import Batch, batches
from r2_hf_assets.assets.partitions import add_partitions, chunk_key, chunk_partitions
from r2_hf_assets.plan.chunks import Planned

ORDER = [chunk_key(number) for number in range(12)]


def chunk(name: str) -> Planned:
    language, number = name.split()
    return Planned(language, int(number), f"digest of {name}", 3)


def cut(names: list[str], limit: int, order: list[str] = ORDER) -> list[list[str]]:
    found = batches([chunk(name) for name in names], limit, order)
    return [[f"{one.language} {one.number}" for one in batch.chunks] for batch in found]


@pytest.mark.parametrize(
    ("names", "limit", "expected"),
    [
        ([], 3, []),
        (["en 0", "en 1", "en 2"], 1, [["en 0"], ["en 1"], ["en 2"]]),
        (["en 0", "en 1", "en 2", "en 3"], 3, [["en 0", "en 1", "en 2"], ["en 3"]]),
        # A gap, and another language, begin another run.
        (["en 0", "en 2", "en 3"], 3, [["en 0"], ["en 2", "en 3"]]),
        (["de 0", "en 0", "de 1", "en 1"], 9, [["de 0", "de 1"], ["en 0", "en 1"]]),
        # The first that was asked for goes first.
        (["en 5", "de 1", "en 4"], 3, [["en 4", "en 5"], ["de 1"]]),
    ],
)
def test_rows_without_a_gap(names: list[str], limit: int, expected: list[list[str]]) -> None:
    assert cut(names, limit) == expected


def test_the_order_is_that_in_which_chunks_became_partitions() -> None:
    order = [chunk_key(number) for number in (5, 3, 4)]
    assert cut(["en 3", "en 4", "en 5"], 2, order) == [["en 5", "en 3"], ["en 4"]]


@pytest.mark.parametrize("seed", range(5))
def test_dagster_reads_each_range_as_exactly_its_chunks(seed: int) -> None:
    rng = random.Random(seed)
    numbers = rng.sample(range(20), 12)
    with DagsterInstance.ephemeral() as instance:
        for number in numbers:  # one by one, so that their order is not that of the numbers
            add_partitions(instance, [number])
        wanted = [chunk(f"{rng.choice(['de', 'en', 'fr'])} {rng.choice(numbers)}") for _ in range(30)]
        wanted = list(dict.fromkeys(wanted))
        found = batches(wanted, 4, instance.get_dynamic_partitions("plan_chunk"))
        assert sorted(key for batch in found for key in batch.keys) == sorted(
            f"{one.language}|{chunk_key(one.number)}" for one in wanted
        )
        for batch in found:
            start, end = batch.keys[0], batch.keys[-1]
            keys = chunk_partitions.get_partition_keys_in_range(PartitionKeyRange(start, end), instance)
            assert [str(key) for key in keys] == batch.keys
    assert any(len(batch.chunks) > 1 for batch in found)


def test_a_run_of_one_chunk_is_started_for_its_partition() -> None:
    one, two = Batch((chunk("en 7"),)), Batch((chunk("en 7"), chunk("en 8")))
    assert (one.partition_key, one.tags) == ("en|chunk_0007", {})
    assert two.partition_key is None
    assert two.tags == {
        "dagster/asset_partition_range_start": "en|chunk_0007",
        "dagster/asset_partition_range_end": "en|chunk_0008",
    }


LOADED = """
from dagster import Definitions
from r2_hf_assets.definitions import defs
Definitions.validate_loadable(defs)
graph = defs.resolve_asset_graph()
for name in ("parquet_shards", "hub_commit"):
    print(getattr(graph.get(AssetKey(name)).backfill_policy, "max_partitions_per_run", "none"))
"""


@pytest.mark.parametrize(("asked", "policy"), [("1", "none"), ("3", "3")])
def test_the_definitions_load_with_and_without_a_policy(asked: str, policy: str) -> None:
    script = f"from dagster import AssetKey{LOADED}"
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", script],
        env={**os.environ, "CHUNKS_PER_COMMIT": asked},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == [policy, policy]
    assert "backfill_policy" not in done.stderr, "no warning at every import"
