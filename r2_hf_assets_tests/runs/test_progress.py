"""Progress by language: hours of each chunk's latest commit, chunks of unknown hours, and the pace."""

from collections.abc import Iterable

import pytest
from dagster import AssetMaterialization, DagsterInstance
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.partitions import add_partitions, partition_key
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.runs import history
from r2_hf_assets.runs.progress import Pace, pace_of, read_progress

PLANNED = [ChunkRef("de", 0, "d0", 5), *(ChunkRef("en", number, f"e{number}", 10) for number in range(5))]
DONE = {("de", 0): "d0", ("en", 0): "e0", ("en", 1): "e1", ("en", 2): "an older digest", ("en", 3): "e3"}
MINUTE = 60.0
NOW = 1_000_000.0


def test_hours_and_pace_count_committed_chunks(monkeypatch) -> None:
    monkeypatch.setattr(history, "PAGE", 2)
    with DagsterInstance.ephemeral() as instance:
        add_partitions(instance, range(5))

        def record(language: str, number: int, **metadata: object) -> None:
            key, digest = partition_key(language, number), DONE[language, number]
            event = AssetMaterialization(COMMIT, partition=key, metadata=metadata, tags={DATA_VERSION_TAG: digest})  # type: ignore[arg-type]
            instance.report_runless_asset_event(event)

        record("en", 0, hours=9.0)
        record("en", 0, hours=1.5)  # recorded again
        record("en", 1, recorded_by="reconcile")
        record("en", 2, hours=7.0)
        record("en", 3, hours=1)
        record("de", 0, hours=0.25)
        # Reading thousands of whole events takes seconds.
        monkeypatch.setattr(DagsterInstance, "fetch_materializations", None)
        progress = read_progress(instance, PLANNED, ["de", "en"])
    german, english = progress.languages
    assert (german.hours, german.hours_unknown, german.next) == (0.25, 0, None)
    assert (english.committed, english.hours, english.hours_unknown) == (3, 2.5, 1)  # en 2 has another digest
    total = progress.total
    assert (total.planned, total.episodes, total.committed, total.failed, total.due) == (6, 55, 4, 0, 2)
    assert (total.hours, total.hours_unknown, total.next) == (2.75, 1, "en|chunk_0002")
    # de 0, en 0 and en 3: en 1 is reconcile's, and en 2 has another digest.
    assert progress.pace is not None and progress.pace.chunks == 3


def ago(minutes: Iterable[float]) -> list[tuple[float, int]]:
    return [(NOW - minute * MINUTE, 10) for minute in minutes]


@pytest.mark.parametrize("earlier", [(), range(600, 700)])
@pytest.mark.parametrize(("due", "hours_left"), [(100, 2.5), (0, 0.0)])
def test_the_pace_covers_the_last_two_hours(earlier: Iterable[float], due: int, hours_left: float) -> None:
    # 20 episodes in the 30 minutes since the first of three commits
    assert pace_of(ago([*earlier, 30, 20, 10]), due, NOW) == Pace(40.0, hours_left, 3, 0.5)


@pytest.mark.parametrize(
    "minutes",
    [
        [],
        [10, 5],
        range(180, 240, 10),  # none recently
        [10, 10, 10],  # all at once
        [300, 20, 10],
    ],
)
def test_too_few_commits_give_no_pace(minutes: Iterable[float]) -> None:
    assert pace_of(ago(minutes), 100, NOW) is None
