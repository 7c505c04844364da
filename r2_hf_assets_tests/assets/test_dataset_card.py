"""`dataset_card` through Dagster: figures from the history, at most one commit, and a dataset that loads."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import Any

import obstore
import pytest
import xxhash
from dagster import AssetKey, DagsterInstance

from r2_hf_assets.amend.remove import remove
from r2_hf_assets.cli.in_process import execute, refresh_card
from r2_hf_assets.hub.card.facts import figures_of
from r2_hf_assets.hub.card.merge import BEGIN
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.reads import HubReader
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.runs import card_facts, history
from r2_hf_assets.runs.card_facts import read_facts
from r2_hf_assets.runs.reconcile import examine
from r2_hf_assets.settings import load
from r2_hf_assets_tests.support.world import World, materializations

CARD = AssetKey("dataset_card")
SMALL: dict[str, Any] = {"awkward": False, "expect": False, "segments": (3, 3), "seconds": (0.3, 0.4)}

# Runs in its own process: `datasets` reads HF_ENDPOINT at import.
LOAD = """
import io, json, os, sys
import soundfile
from datasets import Audio, get_dataset_config_names, load_dataset
repo, language = sys.argv[1:]
def plain(dataset):
    assert type(dataset.features["audio"]).__name__ == "Audio"
    rows = list(dataset.cast_column("audio", Audio(decode=False)))
    assert all(soundfile.info(io.BytesIO(row["audio"]["bytes"])).frames > 0 for row in rows)
    return sorted(row["audio"]["path"] for row in rows)
print(json.dumps({
    "names": get_dataset_config_names(repo),
    "splits": {name: len(rows) for name, rows in load_dataset(repo).items()},
    "whole": plain(load_dataset(repo, split="train")),
    "streamed": plain(load_dataset(repo, split="train", streaming=True)),
    "one": plain(load_dataset(repo, language, split="train")),
    "one_streamed": plain(load_dataset(repo, language, split="train", streaming=True)),
    "folder": load_dataset(repo, data_dir="data/" + language, split="train").num_rows,
    "index": list(load_dataset(repo, "metadata", split="train")),
    "index_streamed": list(load_dataset(repo, "metadata", split="train", streaming=True)),
}))
# Arrow's reading threads may hold a Python file at exit, which aborts the process.
sys.stdout.flush()
os._exit(0)
"""


def loaded(world: World, language: str = "de", code: str = LOAD) -> dict[str, Any]:
    env = world.command_env(**{name: world.env[name] for name in ("HF_ENDPOINT", "HF_TOKEN", "HF_HOME")})
    command = [sys.executable, "-c", code, world.repo_id, language]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def readme(world: World) -> str:
    with world.dataset_folder() as folder:
        return (folder / "README.md").read_text()


def write(world: World, text: str) -> None:
    world.api().upload_file(
        path_or_fileobj=text.encode(), path_in_repo="README.md", repo_id=world.repo_id, repo_type="dataset"
    )


def refresh(*, at_once: bool = True) -> str | None:
    with DagsterInstance.get() as instance:
        return refresh_card(instance, at_once=at_once)


def commits(world: World) -> list[str]:
    history = world.api().list_repo_commits(world.repo_id, repo_type="dataset")
    return [commit.title for commit in history if commit.title.startswith("Update the card")]


def test_the_dataset_loads_by_language_and_in_full_while_the_card_is_stale(
    in_process: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = in_process
    monkeypatch.setenv("DATASET_TITLE", "Talks")
    monkeypatch.setenv("DATASET_LICENSE", "cc-by-4.0")
    world.upload(episodes={"no": 1, "deu": 1}, **SMALL)
    world.scan()
    world.build_due()
    assert refresh() is None
    world.upload(episodes={"deu": 2, "fr": 1}, **SMALL)  # more rows than in the card, and a new language
    world.scan()
    world.build_due()
    grown = loaded(world)
    assert grown["names"] == ["all", "de", "no", "metadata"] and grown["splits"] == {"train": 12}
    assert len(set(grown["whole"])) == 12 and grown["whole"] == grown["streamed"]
    assert grown["one"] == grown["one_streamed"] == [key for key in grown["whole"] if "/deu/" in key]
    assert grown["folder"] == 6
    assert sorted(row["key"] for row in grown["index"]) == grown["whole"] and grown["index"] == grown["index_streamed"]
    with world.dataset_folder() as folder:
        assert "Duration, seconds: 6 rows" in (folder / "assets" / "quality.svg").read_text()
        text = (folder / "README.md").read_text()
    assert "pretty_name: Talks\nlicense: cc-by-4.0\n" in text and "# Talks" in text


LOAD_FIRST = """
import json, os, sys
from datasets import Audio, get_dataset_config_names, load_dataset
repo = sys.argv[1]
def plain(dataset):
    return sorted(row["audio"]["path"] for row in dataset.cast_column("audio", Audio(decode=False)))
try:
    rows = plain(load_dataset(repo, split="train"))
    streamed = plain(load_dataset(repo, split="train", streaming=True))
except Exception as error:
    rows, streamed = type(error).__name__, ""
print(json.dumps({
    "names": get_dataset_config_names(repo),
    "rows": rows,
    "streamed": streamed,
    "index": sorted(load_dataset(repo, "metadata", split="train"), key=lambda row: row["key"]),
    "types": {name: feature.dtype for name, feature in load_dataset(repo, "metadata", split="train").features.items()},
}))
sys.stdout.flush()
os._exit(0)
"""


def test_rows_and_index_load_by_the_card_of_the_first_commit(in_process: World) -> None:
    """At first a chunk without rows, then one without rejects: `reject_reason` is all null in its index."""
    world = in_process
    key = "processed/de/without/all_segments.json"
    obstore.put(world.store(), key, json.dumps([{"start": 0.0, "end": 1.0, "segment_id": 0}]).encode())
    world.scan()
    world.build_due()
    first = loaded(world, code=LOAD_FIRST)
    assert first["names"] == ["metadata", "all"]
    assert first["rows"] == "ValueError"  # "At least one data file must be specified"
    assert [(row["reject_reason"], row["file"]) for row in first["index"]] == [("audio_missing", None)]
    summary = world.upload(episodes={"en": 3}, **{**SMALL, "expect": True})
    world.scan()
    world.build_due()
    second = loaded(world, code=LOAD_FIRST)
    expected = sorted(row.key for row in summary.rows)
    assert second["rows"] == second["streamed"] == expected
    rejects = [row for row in second["index"] if row["reject_reason"]]
    assert rejects == first["index"]
    placed = [row for row in second["index"] if not row["reject_reason"]]
    assert [row["key"] for row in placed] == expected
    assert [row["audio_hash"] for row in placed] == [xxhash.xxh3_64_intdigest(world.object(key)) for key in expected]
    assert {**second["types"], "audio_hash": "uint64", "start": "float64", "row": "int32"} == second["types"]


@pytest.fixture
def committed(in_process: World) -> World:
    """One committed chunk each of en and de."""
    in_process.upload(episodes={"en": 2, "de": 1}, **SMALL)
    in_process.scan()
    in_process.build_due()
    return in_process


def test_the_card_has_the_recorded_chunks_and_is_updated_after_commits(
    committed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = committed
    assert refresh() is None
    (first,) = materializations(world, "dataset_card")
    figures = {
        name: first[name]
        for name in ("segments", "episodes", "chunks_committed", "chunks_with_hours", "chunks_planned")
    }
    assert figures == {"segments": 9, "episodes": 3, "chunks_committed": 2, "chunks_with_hours": 2, "chunks_planned": 2}
    assert first["committed"] and first["commit_oid"] == world.head()
    recorded = materializations(world, "hub_commit")
    assert first["bytes"] == sum(row["bytes"] for row in recorded)
    assert first["hours"] == pytest.approx(sum(row["hours"] for row in recorded), abs=2e-4)
    assert "| `de` |" in readme(world)
    assert refresh() is None
    assert len(materializations(world, "dataset_card")) == 1, "no commit was recorded, so no run was started"
    with DagsterInstance.get() as instance:
        assert execute(instance, [CARD], None).success
    assert materializations(world, "dataset_card")[0]["committed"] is False
    world.upload(episodes={"de": 2}, **SMALL)
    world.scan()
    world.build_due()
    assert refresh(at_once=False) is None and len(commits(world)) == 1
    assert refresh() is None and len(commits(world)) == 2
    assert "| `de` | 0.00 | 2 | 6 |" in readme(world)
    _check_counted_chunks(monkeypatch)


def _check_counted_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, real = load(), PlanStore.planned
    plan, repo = open_plan(settings.plan, settings.r2), HubClient(settings.hub)

    def replanned(self: PlanStore) -> list[ChunkRef]:
        return [replace(chunk, digest="new") if chunk.language == "de" else chunk for chunk in real(self)]

    with DagsterInstance.get() as instance:
        read = read_facts(instance, plan, settings, repo)
        facts = read.card
        assert facts.all.chunks == 3 and read.read_up_to > 0
        monkeypatch.setattr(history, "PAGE", 2)
        assert read_facts(instance, plan, settings, repo) == read
        with monkeypatch.context() as patch:  # a history that does not have the figures
            patch.setattr(card_facts, "_recorded_figures", lambda event: figures_of(0, 0, None))
            assert read_facts(instance, plan, settings, repo).card == facts
        monkeypatch.setattr(HubReader, "header", None)  # the history has the figures: no header is read
        monkeypatch.setattr(PlanStore, "planned", replanned)
        fewer = read_facts(instance, plan, settings, repo).card
    assert list(fewer.languages) == ["en"] and fewer.all.chunks == 1 and fewer.planned == 3


def test_user_text_is_kept_damaged_markers_are_reported_and_a_lost_history_changes_nothing(
    committed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = committed
    write(world, "---\nlicense: mit # ours\n---\n# Mine\n")
    assert refresh() is None
    text = readme(world)
    assert text.startswith("---\nlicense: mit # ours\n") and "\n# Mine\n\n" + BEGIN in text
    write(world, text.replace(BEGIN, "<!-- gone -->"))
    with DagsterInstance.get() as instance:
        result = execute(instance, [CARD], None)
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert "are not a pair; restore them" in (failure.user_failure_data.description or "")
    assert "gone" in readme(world)
    write(world, text)

    state = world.folder / "dagster_home" / "r2_hf_assets" / "state"
    shutil.rmtree(state / "builds")
    monkeypatch.setenv("STATE_URL", str(state))
    new = world.folder / "new_home"
    new.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(new))
    with DagsterInstance.get() as instance:
        assert execute(instance, [CARD], None).success and readme(world) == text, "nothing is recorded"
        examine(instance, load(), record_found=True)
        assert refresh_card(instance) is None
    metadata = materializations(world, "dataset_card")[0]
    assert (metadata["chunks_committed"], metadata["segments"], metadata["chunks_with_hours"]) == (2, 9, 2)
    assert readme(world) == text, "the indexes have the figures"


def test_the_card_of_a_dataset_whose_last_row_was_removed(in_process: World) -> None:
    in_process.upload(episodes={"en": 1, "de": 1}, **SMALL)
    assert in_process.scan() is None
    assert not any(run.error for run in in_process.build_due())
    assert refresh() is None
    settings = load()
    plan = open_plan(settings.plan, settings.r2)
    for left, chunk in ((1, "en"), (0, "de")):
        (episode,) = next(iter(plan.read_many([(chunk, 0)]))).episodes
        remove(settings, [episode], "takedown")
        assert not any(run.error for run in in_process.build_due())
        assert refresh() is None, "fewer languages are no smaller history"
        text = readme(in_process)
        assert text.count("config_name: en\n") == 0
        assert text.count("config_name: de\n") == 2 * left
        assert "2 chunks of the plan, by digest" in text and episode not in text
