"""The real `dagster` and `dg` commands in a folder with a .env, as a user types them."""

import os
import signal
import subprocess
from functools import partial

import pytest

from r2_hf_assets_tests.support.world import BIN, World, materializations
from r2_hf_sandbox.processes import wait_until

MATERIALIZE = ("asset", "materialize", "--select")


@pytest.mark.parametrize("program", ["dagster", "dg"])
def test_a_command_plans_builds_and_commits(in_process: World, program: str) -> None:
    world = in_process
    summary = world.upload(episodes={"en": 2, "de": 1})
    world.write_dotenv()
    run = partial(world.dagster, *MATERIALIZE) if program == "dagster" else partial(world.dg, "launch", "--assets")
    planned = run("work_plan")
    assert planned.returncode == 0, planned.stderr
    assert ("SupersessionWarning" in planned.stderr) is (program == "dagster"), "the README says which one warns"
    built = run("parquet_shards,hub_commit", "--partition", "en|chunk_0000")
    assert built.returncode == 0, built.stderr
    assert world.files() == ["data/en/chunk-00000.parquet"]
    keys = {row["audio"]["path"] for row in world.table().to_pylist()}
    assert keys == {row.key for row in summary.rows if row.folder == "en"}
    assert world.due() == ["de|chunk_0000"]


def test_a_run_config_narrows_the_scan(in_process: World) -> None:
    world = in_process
    world.upload(episodes={"en": 1, "de": 1, "fr": 1}, expect=False)
    world.write_dotenv()
    config = '{"ops": {"work_plan": {"config": {"languages": ["en", "de"]}}}}'
    assert world.dagster(*MATERIALIZE, "work_plan", "--config-json", config).returncode == 0
    assert world.due() == ["de|chunk_0000", "en|chunk_0000"]


def test_missing_settings_are_named_in_one_line_before_any_work(world: World) -> None:
    home = world.env["DAGSTER_HOME"]
    (world.folder / ".env").write_text(f"DAGSTER_HOME={home}\nR2_BUCKET=b\nDOWNLOAD_WORKERS=many\n")
    run = world.dagster(*MATERIALIZE, "work_plan")
    assert run.returncode != 0
    line = (
        "settings: not set: R2_ENDPOINT_URL, R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY, HF_REPO_ID, HF_TOKEN "
        "(add to .env, see .env.example); "
        "DOWNLOAD_WORKERS='many': must be a whole number, 1 or more"
    )
    assert [text for text in run.stderr.splitlines() if line in text]


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"R2_SECRET_ACCESS_KEY": "wrong"}, "check R2_SECRET_ACCESS_KEY"),
        ({"R2_ACCESS_KEY_ID": "nobody"}, "check R2_ACCESS_KEY_ID"),
        ({"R2_BUCKET": "no-such-bucket"}, "check R2_BUCKET"),
        ({"R2_ENDPOINT_URL": "http://127.0.0.1:9"}, "check R2_ENDPOINT_URL"),
    ],
)
def test_a_wrong_bucket_setting_is_named_in_one_line(
    in_process: World, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], advice: str
) -> None:
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    error = in_process.scan()
    assert error is not None
    assert advice in error
    assert "\n" not in error


def test_a_token_without_write_access_is_named(in_process: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world = in_process
    world.upload(episodes={"en": 1}, expect=False)
    world.scan()
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    (run,) = world.build_due()
    assert run.error is not None
    assert "HF_TOKEN" in run.error
    assert "hf_nobody" not in run.error
    assert world.due() == ["en|chunk_0000"]


def test_an_ephemeral_instance_is_warned_of(world: World) -> None:
    world.upload(episodes={"en": 1}, expect=False)
    del world.env["DAGSTER_HOME"]
    world.write_dotenv()
    run = world.dagster(*MATERIALIZE, "work_plan")
    assert run.returncode == 0, run.stderr
    assert "NOT PERSISTENT" in run.stderr
    assert "Set DAGSTER_HOME" in run.stderr


def test_a_killed_run_is_repeated_and_a_recorded_one_is_not(in_process: World) -> None:
    world = in_process
    world.upload(episodes={"en": 6}, expect=False)
    world.write_dotenv()
    world.scan()
    assert world.dagster(*MATERIALIZE, "parquet_shards,hub_commit", "--partition", "en|chunk_0000").returncode == 0
    hangs = {"method": "POST", "path_regex": f"{world.repo_id}/commit/", "delay_s": 60, "drop": True}
    world.sandbox.hub.inject(hangs)
    command = [str(BIN / "dagster"), *MATERIALIZE, "parquet_shards,hub_commit", "--partition", "en|chunk_0001"]
    mark = world.sandbox.hub.mark()
    killed = subprocess.Popen(
        command, cwd=world.folder, env=world.command_env(), stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        assert wait_until(lambda: _commit_requested(world, mark), 120, 0.1)
    finally:
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        world.sandbox.hub.clear_faults()
    assert len(world.commits()) == 1
    assert world.due() == ["en|chunk_0001"]
    again = world.build_due()
    assert [(run.key, run.error) for run in again] == [("en|chunk_0001", None)]
    assert len(world.commits()) == 2
    assert len(materializations(world, "hub_commit", "en|chunk_0000")) == 1
    assert len({row["audio"]["path"] for row in world.table().to_pylist()}) == world.table().num_rows


def _commit_requested(world: World, mark: int) -> bool:
    return any(f"{world.repo_id}/commit/" in request["path"] for request in world.sandbox.hub.requests(since=mark))
