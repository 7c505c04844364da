"""`dataset_card` through Dagster: figures from the history, at most one commit, and a dataset that loads."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from dagster import AssetKey, DagsterInstance

from r2_hf_assets.assets.dataset_card import read_facts
from r2_hf_assets.cli.in_process import execute, refresh_card
from r2_hf_assets.hub.card.merge import BEGIN
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.runs import history
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
}))
# Arrow's reading threads may hold a Python file at exit, which aborts the process.
sys.stdout.flush()
os._exit(0)
"""


def loaded(world: World, language: str = "de") -> dict[str, Any]:
    env = world.command_env(**{name: world.env[name] for name in ("HF_ENDPOINT", "HF_TOKEN", "HF_HOME")})
    command = [sys.executable, "-c", LOAD, world.repo_id, language]
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
    assert grown["names"] == ["all", "de", "no"] and grown["splits"] == {"train": 12}
    assert len(set(grown["whole"])) == 12 and grown["whole"] == grown["streamed"]
    assert grown["one"] == grown["one_streamed"] == [key for key in grown["whole"] if "/deu/" in key]
    assert grown["folder"] == 6
    with world.dataset_folder() as folder:
        assert "Duration, seconds: 6 rows" in (folder / "assets" / "quality.svg").read_text()
        text = (folder / "README.md").read_text()
    assert "pretty_name: Talks\nlicense: cc-by-4.0\n" in text and "# Talks" in text


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
    figures = {name: first[name] for name in ("segments", "episodes", "chunks", "chunks_counted", "chunks_planned")}
    assert figures == {"segments": 9, "episodes": 3, "chunks": 2, "chunks_counted": 2, "chunks_planned": 2}
    assert first["committed"] and first["commit_oid"] == world.head()
    recorded = materializations(world, "hub_commit")
    assert first["bytes"] == sum(row["bytes"] for row in recorded)
    assert first["hours"] == pytest.approx(sum(row["hours"] for row in recorded), abs=2e-4)
    assert "| `de` |" in first["preview"] and f"resolve/{world.head()}/assets/quality.svg" in first["preview"]
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
    plan = open_plan(settings.plan, settings.r2)

    def replanned(self: PlanStore) -> list[ChunkRef]:
        return [replace(chunk, digest="new") if chunk.language == "de" else chunk for chunk in real(self)]

    with DagsterInstance.get() as instance:
        facts, newest = read_facts(instance, plan, settings)
        assert facts.all.chunks == 3 and newest > 0
        monkeypatch.setattr(history, "PAGE", 2)
        assert read_facts(instance, plan, settings) == (facts, newest)
        monkeypatch.setattr(PlanStore, "planned", replanned)
        fewer, _ = read_facts(instance, plan, settings)
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
    assert (metadata["chunks"], metadata["segments"], metadata["chunks_counted"]) == (2, 9, 0)
    text = readme(world)
    assert "are of 0 of 2 chunks" in text and "| `de` | ? | ? | 3 | ? |" in text
