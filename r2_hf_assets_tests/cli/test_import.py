"""`r2-hf import` after the script itself (bench/jobs/script.py): its plan, its progress.log, its files on the Hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import obstore
import pytest

from r2_hf_assets_tests.cli.calls import call
from r2_hf_assets_tests.world import ROOT, World, materializations

IMPORT = ("import", "--work-plan", "work_plan.json", "--progress", "progress.log")


@pytest.fixture
def begun(in_process: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A dataset that the script made but for the last chunk of `en`; for one missing MP3 it dropped an episode."""
    world = in_process
    monkeypatch.chdir(world.folder)
    world.upload(episodes={"en": 6, "en-US": 1, "fra": 1}, segments=(4, 4), expect=False)
    (lost,) = [key for key in keys_in_bucket(world) if key.endswith("_000001.mp3") and "/en/" in key][:1]
    obstore.delete(world.store(), lost)
    script = [sys.executable, "-m", "bench.jobs.script"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, check=False, capture_output=True, text=True, cwd=world.folder, env=env)
    assert done.returncode == 0, done.stderr
    lines = Path("progress.log").read_text().splitlines()
    assert lines == ["en/chunk-00000", "en/chunk-00001", "en/chunk-00002", "fra/chunk-00000"]
    Path("progress.log").write_text("en 0\n2026-01-02 03:04:05 en/chunk-00001 DONE\nfra|chunk_0000\n")
    return world


def keys_in_bucket(world: World) -> list[str]:
    return sorted(item["path"] for batch in obstore.list(world.store(), "processed/") for item in batch)


def keys(world: World) -> set[str]:
    return {row["audio"]["path"] for row in world.table().to_pylist()}


def refuses(world: World, capfd: pytest.CaptureFixture[str], said: str) -> None:
    """Exit code 1, one line, and nothing imported."""
    answer = call(capfd, *IMPORT)
    assert (answer.code, answer.data, len(answer.talk)) == (1, [], 1)
    assert said in answer.talk[0]
    assert world.due() == []
    assert materializations(world, "hub_commit") == []


def test_what_the_script_began_is_gone_on_with(begun: World, capfd: pytest.CaptureFixture[str]) -> None:
    log, plan = Path("progress.log").read_text(), Path("work_plan.json").read_text()
    Path("progress.log").write_text("en 0\nen 1 FAILED\n")
    refuses(begun, capfd, "r2-hf: progress.log line 2 is not understood: 'en 1 FAILED'")
    Path("progress.log").write_text(log)
    chunks = json.loads(plan)
    Path("work_plan.json").write_text(json.dumps({**chunks, "en": [*chunks["en"], chunks["en"][0][:1]]}))
    refuses(begun, capfd, "twice: en chunk 0 and en chunk 3")
    Path("work_plan.json").write_text(plan)

    dry = call(capfd, *IMPORT, "--dry-run")
    assert dry.code == 0
    assert begun.due() == []
    assert not list(Path(begun.env["DAGSTER_HOME"]).glob("r2_hf_assets/state/plan/*"))

    done = call(capfd, *IMPORT)
    assert (done.code, done.data) == (
        0,
        ["en|chunk_0000: recorded: lacks 3 of 12 segments", "en|chunk_0001: recorded: 12 rows"],
    )
    assert done.data == dry.data
    assert any("1 chunks lack 3 segments" in line for line in done.talk)
    assert any("fra: 1 finished chunks lie in data/fra/" in line for line in done.talk)
    assert done.talk[-1] == "4 chunks planned newly, 0 were; 2 recorded as done, 0 were; 0 finished ones left due"
    assert begun.due() == ["en|chunk_0002", "fr|chunk_0000"]
    recorded = materializations(begun, "hub_commit", "en|chunk_0000")
    assert [event["recorded_by"] for event in recorded] == ["import"]

    again = call(capfd, *IMPORT)
    assert (again.code, again.data) == (0, [])
    assert again.talk[-1] == "0 chunks planned newly, 4 were; 0 recorded as done, 2 were; 0 finished ones left due"
    assert len(materializations(begun, "hub_commit")) == 2

    assert call(capfd, "scan").data == ["4 chunks planned"]  # every episode has its chunk already
    assert call(capfd, "process").code == 0
    assert begun.due() == []
    differences = call(capfd, "reconcile").data
    assert differences == ["unknown_file: data/fra/chunk-00000.parquet"]


def test_incomplete_and_broken_chunks_are_made_anew(begun: World, capfd: pytest.CaptureFixture[str]) -> None:
    where = {"repo_id": begun.repo_id, "repo_type": "dataset"}
    before = keys(begun)
    begun.api().delete_file("data/en/chunk-00001.parquet", **where)
    begun.api().upload_file(path_or_fileobj=b"no parquet", path_in_repo="data/en/chunk-00002.parquet", **where)
    Path("progress.log").write_text("en 0\nen 2\n")
    Path("of-another-machine.log").write_text("en 1\n")
    done = call(capfd, *IMPORT, "--progress", "of-another-machine.log", "--rebuild-incomplete")
    assert done.code == 0
    assert done.data[:2] == [
        "en|chunk_0000: left due: lacks 3 of 12 segments",
        "en|chunk_0001: left due: no file on the Hub",
    ]
    assert done.data[2].startswith("en|chunk_0002: left due: data/en/chunk-00002.parquet is no sound Parquet file")
    assert begun.due() == ["en|chunk_0000", "en|chunk_0001", "en|chunk_0002", "fr|chunk_0000"]
    assert call(capfd, "process", "--language", "en").code == 0
    assert before < keys(begun)
    assert len(keys(begun)) == len(before) + 3
