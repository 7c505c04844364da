"""The quality checks of a chunk: they warn with numbers, and the chunk is committed."""

from typing import Any

from dagster import AssetCheckKey, AssetKey

from r2_hf_assets.checks import BUILD_CHECKS
from r2_hf_assets_tests.support.build_samples import entry, put_episode
from r2_hf_assets_tests.support.world import World, materializations
from r2_hf_assets_tests.test_checks import number, results

EN = "en|chunk_0000"


def check(name: str, partition: str = EN) -> tuple[str, Any]:
    ((status, evaluation),) = results(AssetCheckKey(AssetKey("parquet_shards"), name), partition)
    return status, evaluation


def test_bad_content_warns_and_is_committed(in_process: World) -> None:
    world = in_process
    entries = [entry(0), entry(1, text=" "), entry(2, dnsmos=7.5), entry(3, start=0.0, end=1e9), entry(4, start=None)]
    put_episode(world.store(), "en/one", entries)
    put_episode(world.store(), "en-US/one", entries)  # the same bytes
    for index in range(5):
        key = f"processed/en/one/one_{index:06d}.mp3"
        world.store().put(f"processed/en-US/one/one_{index:06d}.mp3", world.object(key))
    world.scan()
    assert [run.error for run in world.build_due()] == [None]
    assert world.table().num_rows == 10
    results_by_name = {spec.name: check(spec.name) for spec in BUILD_CHECKS[1:]}
    assert {status for status, _ in results_by_name.values()} == {"FAILED"}
    assert {evaluation.severity.value for _, evaluation in results_by_name.values()} == {"WARN"}
    problems = {name: number(evaluation, "problems_by_kind") for name, (_, evaluation) in results_by_name.items()}
    assert problems == {
        "audio": {"undecodable": 4},
        "ranges": {"dnsmos_high": 2, "duration_long": 2, "duration_null": 2},
        "texts": {"text_empty": 2},
        "duplicates": {"duplicate": 5},
    }
    # An invalid end time does not change the hours.
    shards = materializations(world, "parquet_shards", EN)[0]
    assert shards["hours"] == round(6 * 1.5 / 3600, 4)
