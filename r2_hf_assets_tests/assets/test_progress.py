"""Hours in the progress: those of the latest commit of each chunk, and how many are not known."""

from dagster import AssetMaterialization, DagsterInstance
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.assets import history
from r2_hf_assets.assets.history import commits_by_chunk
from r2_hf_assets.assets.partitions import partition_key
from r2_hf_assets.assets.progress import by_language, summed
from r2_hf_assets.plan.chunks import Planned

PLANNED = [Planned("de", 0, "d0", 5), *(Planned("en", number, f"e{number}", 10) for number in range(4))]
DONE = {("de", 0): "d0", ("en", 0): "e0", ("en", 1): "e1", ("en", 2): "an older digest"}


def test_hours_are_of_what_is_committed(monkeypatch) -> None:
    monkeypatch.setattr(history, "PAGE", 2)
    with DagsterInstance.ephemeral() as instance:

        def record(language: str, number: int, **metadata: object) -> None:
            key, digest = partition_key(language, number), DONE[language, number]
            event = AssetMaterialization(COMMIT, partition=key, metadata=metadata, tags={DATA_VERSION_TAG: digest})  # type: ignore[arg-type]
            instance.report_runless_asset_event(event)

        record("en", 0, hours=9.0)
        record("en", 0, hours=1.5)  # once more
        record("en", 1, recorded_by="reconcile")
        record("en", 2, hours=7.0)
        record("de", 0, hours=0.25)
        commits = commits_by_chunk(instance, COMMIT)
    assert {name: (found.hours, found.by_run) for name, found in commits.items()} == {
        ("de", 0): (0.25, True),
        ("en", 0): (1.5, True),
        ("en", 1): (None, False),
        ("en", 2): (7.0, True),
    }
    rows = by_language(PLANNED, DONE, DONE, {("en", 3)}, commits)
    german, english = rows
    assert (german.hours, german.hours_unknown, german.next) == (0.25, 0, None)
    assert (english.committed, english.hours, english.hours_unknown) == (2, 1.5, 1)  # en 2 was committed for another
    total = summed(rows)
    assert (total.planned, total.episodes, total.committed, total.failed, total.due) == (5, 45, 3, 1, 2)
    assert (total.hours, total.hours_unknown, total.next) == (1.75, 1, "en|chunk_0002")
