"""`r2-hf import` continues a dataset of the script: its plan, its progress.log and its files on the Hub."""

import json
import shutil
from collections import Counter
from pathlib import Path

import obstore
import pytest

from r2_hf_assets_tests.cli.calls import CallResult, call
from r2_hf_assets_tests.reconcile.script_imitation import Script, file_hashes
from r2_hf_assets_tests.support.world import World, materializations

IMPORT = ("import", "--work-plan", "work_plan.json", "--progress", "progress.log")


@pytest.fixture
def world(in_process: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.chdir(in_process.folder)
    return in_process


def audio_in_bucket(world: World) -> list[str]:
    listed = [item["path"] for batch in obstore.list(world.store(), "processed/") for item in batch]
    return sorted(path for path in listed if path.endswith(".mp3"))


def rows(world: World) -> Counter[str]:
    """Count the dataset's rows by the name of their audio file."""
    return Counter(row["audio"]["path"].rpartition("/")[2] for row in world.table().to_pylist())


def count_names(keys: list[str]) -> Counter[str]:
    return Counter(key.rpartition("/")[2] for key in keys)


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> CallResult:
    result = call(capfd, *arguments)
    assert result.code == 0, result.stderr
    return result


def complete(capfd: pytest.CaptureFixture[str]) -> None:
    """Scan and process the rest; reconcile then reports no difference."""
    run(capfd, "scan")
    run(capfd, "process", "--no-card")
    assert run(capfd, "reconcile").stdout == []


def even(_language: str, number: int) -> bool:
    return number % 2 == 0


def test_finished_chunks_are_recorded_and_the_others_are_built(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    world.upload(episodes={"de": 20, "de-AT": 2}, segments=(2, 3), seconds=(0.2, 0.4), expect=False)
    script = Script(world, rows_per_part=4)
    script.scan()
    script_files = script.process(even)
    assert len(script_files) == 8
    assert script.progress_file.read_text() == "de-0\nde-2\nde-4\nde-6\n"
    result = run(capfd, *IMPORT)
    assert [line.partition(": ")[0] for line in result.stdout] == [f"de|chunk_{number:04d}" for number in (0, 2, 4, 6)]
    assert result.stderr[-1] == "8 chunks of the script: 8 newly planned, 0 recorded before, 4 recorded now, 4 due"
    assert world.due() == [f"de|chunk_{number:04d}" for number in (1, 3, 5, 7)]
    complete(capfd)
    assert file_hashes(world).items() >= script_files.items()
    assert rows(world) == count_names(audio_in_bucket(world))
    again = run(capfd, *IMPORT)
    assert (again.stdout, again.stderr[-1]) == (
        [],
        "8 chunks of the script: 0 newly planned, 8 recorded before, 0 recorded now, 0 due",
    )


def test_files_of_other_language_codes_are_renamed(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    episodes = {"fr": 4, "fra": 5, "iw": 2, "123": 4, "unknown": 1}
    world.upload(episodes=episodes, segments=(2, 2), seconds=(0.2, 0.4), expect=False)
    script = Script(world, rows_per_part=5)
    script.scan(limit=4)  # the fifth episode of fra is new
    script_files = script.process(even)
    assert {path.split("/")[1] for path in script_files} == {"fr", "fra", "iw", "123", "unknown"}
    commits = len(world.api().list_repo_commits(world.repo_id, repo_type="dataset"))

    dry = run(capfd, *IMPORT, "--dry-run")
    assert file_hashes(world) == script_files
    assert "fr|chunk_0002: recorded: 6 rows, from data/fra/" in dry.stdout
    assert world.due() == []

    done = run(capfd, *IMPORT)
    assert done.stdout == dry.stdout
    assert len(world.api().list_repo_commits(world.repo_id, repo_type="dataset")) == commits + 1
    renamed = file_hashes(world)
    assert sorted(renamed.values()) == sorted(script_files.values())
    assert {path.split("/")[1] for path in renamed} == {"fr", "he", "unknown"}
    assert renamed.items() >= {path: sha for path, sha in script_files.items() if path.startswith("data/fr/")}.items()
    assert rows(world).total() == 2 * (3 + 3 + 2 + 3 + 1)
    assert world.due() == ["fr|chunk_0001", "fr|chunk_0003", "unknown|chunk_0002"]

    complete(capfd)
    assert file_hashes(world).items() >= renamed.items()
    assert rows(world) == count_names(audio_in_bucket(world))
    assert run(capfd, *IMPORT).stdout == []


def test_an_import_interrupted_after_a_rename_completes(
    world: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.upload(episodes={"fra": 4}, segments=(2, 2), seconds=(0.2, 0.4), expect=False)
    script = Script(world, episodes_per_chunk=2)
    monkeypatch.setenv("EPISODES_PER_CHUNK", "2")
    script.scan()
    script.process(lambda _language, number: number == 0)
    with monkeypatch.context() as patch:
        patch.setattr(
            "r2_hf_assets.reconcile.adopt.append_chunks", lambda plan, new: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        assert call(capfd, *IMPORT).code == 130
    assert world.files() == ["data/fr/chunk-00000.parquet"]
    assert run(capfd, *IMPORT).stdout == ["fr|chunk_0000: recorded: 4 rows"]
    assert world.due() == ["fr|chunk_0001"]


def test_both_names_of_a_chunk_on_the_hub_are_rejected(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    world.upload(episodes={"fra": 2}, segments=(2, 2), seconds=(0.2, 0.4), expect=False)
    script = Script(world)
    script.scan()
    script.process(even)
    script.upload("data/fr/chunk-00000", world.table().to_pylist())
    before = file_hashes(world)
    refused = call(capfd, *IMPORT)
    assert (refused.code, refused.stdout, len(refused.stderr)) == (1, [], 1)
    assert "data/fr/chunk-00000.parquet and data/fra/chunk-00000.parquet are both fr chunk-00000" in refused.stderr[0]
    assert (world.due(), file_hashes(world)) == ([], before)


def test_a_missing_repo_is_rejected(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    Path("work_plan.json").write_text("{}")
    refused = call(capfd, "import", "--work-plan", "work_plan.json")
    assert (refused.code, refused.stdout, len(refused.stderr)) == (1, [], 1)
    assert refused.stderr[0].endswith("check HF_REPO_ID")


def drop_audio(world: World, folder: str, place: int) -> str:
    """Delete one segment's audio of the episode at this place; return the episode's id."""
    ids = sorted({key.split("/")[2] for key in audio_in_bucket(world) if key.startswith(f"processed/{folder}/")})
    obstore.delete(world.store(), f"processed/{folder}/{ids[place]}/{ids[place]}_000001.mp3")
    return ids[place]


def test_lost_segments_are_reported_and_can_be_rebuilt(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    world.upload(episodes={"en": 9}, segments=(4, 4), seconds=(0.2, 0.4), expect=False)
    dropped = drop_audio(world, "en", 1)
    script = Script(world)
    script.scan()
    script.process(lambda _language, number: number < 2)
    assert not any(name.startswith(dropped) for name in rows(world))
    # The script stopped before it logged the third chunk; the second chunk's file is deleted.
    script.process(lambda _language, number: number == 2)
    script.progress_file.write_text("en-0\nen-1\n")
    world.api().delete_file("data/en/chunk-00001.parquet", repo_id=world.repo_id, repo_type="dataset")
    shutil.copytree(world.env["DAGSTER_HOME"], "home_before")

    lacks = f"lacks 3 of 12 segments, the first is processed/en/{dropped}/{dropped}_000000.mp3"
    result = run(capfd, *IMPORT)
    assert result.stdout == [
        f"en|chunk_0000: recorded: {lacks}",
        "en|chunk_0001: left due: no file on the Hub",
        "en|chunk_0002: recorded: 12 rows",
    ]
    assert any("recorded chunks lack 3 segments with audio in the bucket" in line for line in result.stderr)
    assert result.stderr[-1] == "3 chunks of the script: 3 newly planned, 0 recorded before, 2 recorded now, 1 due"
    recorded = materializations(world, "hub_commit", "en|chunk_0000")
    assert [event["recorded_by"] for event in recorded] == ["import"]

    shutil.rmtree(world.env["DAGSTER_HOME"])
    shutil.move("home_before", world.env["DAGSTER_HOME"])
    result = run(capfd, *IMPORT, "--rebuild-incomplete")
    assert result.stdout[0] == f"en|chunk_0000: left due: {lacks}"
    assert world.due() == ["en|chunk_0000", "en|chunk_0001"]
    complete(capfd)
    assert rows(world) == count_names(audio_in_bucket(world))


def test_an_unfinished_chunk_is_built_again(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    world.upload(episodes={"fra": 3}, segments=(4, 4), seconds=(0.2, 0.4), expect=False)
    script = Script(world, rows_per_part=5)
    script.scan()
    script.process(even)
    script.progress_file.write_text("")
    world.api().delete_file("data/fra/chunk-00000-part-02.parquet", repo_id=world.repo_id, repo_type="dataset")
    (line,) = run(capfd, *IMPORT).stdout
    assert line.startswith("fr|chunk_0000: left due: lacks 2 of 12 segments, ") and line.endswith(", from data/fra/")
    complete(capfd)
    assert world.files() == ["data/fr/chunk-00000.parquet"]
    assert rows(world) == count_names(audio_in_bucket(world))


def test_another_chunk_size_is_rejected_before_anything_is_written(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    world.upload(episodes={"en": 8}, segments=(2, 2), seconds=(0.2, 0.4), expect=False)
    script = Script(world, episodes_per_chunk=2)
    script.scan()
    script_files = script.process(lambda _language, number: number < 2)

    def check_refused(error: str) -> None:
        result = call(capfd, *IMPORT)
        assert (result.code, result.stdout) == (1, [])
        assert error in result.stderr[-1]
        assert world.due() == []
        assert not list(Path(world.env["DAGSTER_HOME"]).glob("r2_hf_assets/state/plan/*"))

    check_refused("data/en/chunk-00001.parquet: its row processed/en/")
    Path("progress.log").write_text("en-0\nen-1\nen-3\n")
    check_refused("line 3: 'en-3' is not in the work plan; if EPISODES_PER_CHUNK was another when the script ran, give")
    Path("progress.log").write_text("en-0\nen-1\n")

    assert len(run(capfd, *IMPORT, "--episodes-per-chunk", "2").stdout) == 2
    assert world.due() == ["en|chunk_0002", "en|chunk_0003"]
    complete(capfd)
    assert file_hashes(world).items() >= script_files.items()
    assert rows(world) == count_names(audio_in_bucket(world))


def test_chunks_shifted_by_a_later_scan_of_the_script_are_built_again(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    world.upload(episodes={"en": 6}, segments=(2, 2), seconds=(0.2, 0.4), expect=False)
    script = Script(world)
    script.scan()
    plan = json.loads(Path("work_plan.json").read_text())
    script.process(even)
    Path("work_plan.json").write_text(json.dumps({"en": [plan["en"][-1], *plan["en"][:-1]]}))
    line = run(capfd, *IMPORT, "--episodes-per-chunk", "3").stdout[0]
    assert line.startswith("en|chunk_0000: left due: its row processed/en/")
    assert line.endswith("is of no episode of this chunk")
    complete(capfd)
    assert rows(world) == count_names(audio_in_bucket(world))
