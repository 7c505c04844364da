"""scan, process, status and reconcile on a real bucket and Hub, and what a user sees of them."""

import io
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from dagster import DagsterInstance

from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.runs.progress import overall
from r2_hf_assets.settings import load
from r2_hf_assets_tests.cli.calls import call, start
from r2_hf_assets_tests.support.build_samples import put_episode
from r2_hf_assets_tests.support.world import World, materializations


def test_the_whole_job_by_the_scripts_own_calls(shell: World, capfd: pytest.CaptureFixture[str]) -> None:
    shell.upload(episodes={"en": 7, "de": 1}, expect=False)
    scanned = call(capfd, "--scan", "--lang", "en,fr", "--language", "en-US")
    assert (scanned.code, scanned.data) == (0, ["3 chunks planned"])
    assert "7 newly planned in 3 chunks" in scanned.talk[-1]
    assert call(capfd, "scan").data == ["4 chunks planned"]
    mine = call(capfd, "--language", "en", "--chunk-mod", "2", "--chunk-rem", "1")
    assert (mine.code, mine.data) == (0, [])
    assert shell.files() == ["data/en/chunk-00001.parquet"]
    assert [line for line in mine.talk if line.startswith("en|chunk_0001: done, 3 episodes, ")]
    assert mine.talk[-1] == "1 chunks done, 0 failed"
    assert call(capfd, "process", "--language", "de", "--lang", "es, en", "--dry-run").data == [
        "de|chunk_0000",
        "en|chunk_0000",
        "en|chunk_0002",
    ]
    would = call(capfd, "process", "--lang=en,es", "--dry-run")
    assert (would.code, would.data) == (0, ["en|chunk_0000", "en|chunk_0002"])
    assert would.talk == ["would do 2 chunks, 4 episodes"]
    assert shell.files() == ["data/en/chunk-00001.parquet"]
    limited = call(capfd, "process", "--language", "en", "--limit", "1")
    assert limited.code == 0
    assert shell.due() == ["de|chunk_0000", "en|chunk_0002"]
    rest = call(capfd)
    assert rest.code == 0
    assert len(shell.files()) == 4
    again = call(capfd, "process")
    assert (again.code, again.talk) == (0, ["nothing is due"])
    once_more = call(capfd, "process", "--partition", "de|chunk_0000")
    assert once_more.code == 0
    assert len(materializations(shell, "hub_commit", "de|chunk_0000")) == 2
    assert len(shell.commits()) == 4


def test_a_chunk_that_fails_is_said_and_the_rest_is_done(
    shell: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shell.upload(episodes={"en": 3}, expect=False)
    put_episode(shell.store(), "de/late", without=[1])
    shell.scan()
    monkeypatch.setenv("SETTLE_MINUTES", "60")
    answer = call(capfd, "process")
    assert answer.code == 1
    (failed,) = [line for line in answer.talk if "FAILED" in line]
    assert [line for line in answer.talk if line.startswith((" ", "Traceback"))] == []
    assert failed.startswith("de|chunk_0000: FAILED: ")
    assert answer.talk[-1] == "1 chunks done, 1 failed; the failed ones are still due"
    assert shell.files() == ["data/en/chunk-00000.parquet"]
    shown = json.loads("\n".join(call(capfd, "status", "--json").data))
    assert list(shown) == ["languages", "total", "pace", "left_out"]
    assert (shown["total"]["planned"], shown["total"]["due"], shown["total"]["next"]) == (2, 1, "de|chunk_0000")
    assert shown["pace"] is None  # one chunk says nothing
    hours = shown["languages"][1].pop("hours")
    assert 0 < hours == shown["total"]["hours"]
    assert shown["languages"] == [
        {
            "language": "de",
            "planned": 1,
            "episodes": 1,
            "built": 0,
            "committed": 0,
            "failed": 1,
            "due": 1,
            "hours": 0.0,
            "hours_unknown": 0,
            "next": "de|chunk_0000",
        },
        {
            "language": "en",
            "planned": 1,
            "episodes": 3,
            "built": 1,
            "committed": 1,
            "failed": 0,
            "due": 0,
            "hours_unknown": 0,
            "next": None,
        },
    ]
    table = call(capfd, "status").data
    assert [line.split() for line in table] == [
        ["language", "planned", "episodes", "built", "committed", "failed", "due", "hours", "next"],
        ["de", "1", "1", "0", "0", "1", "1", "0.00", "de|chunk_0000"],
        ["en", "1", "3", "1", "1", "0", "0", f"{hours:.2f}", "-"],
        ["total", "2", "4", "1", "1", "1", "1", f"{hours:.2f}", "de|chunk_0000"],
    ]
    put_episode(shell.store(), "de/late")
    assert call(capfd, "process").code == 0
    assert shell.due() == []


def test_a_scan_that_is_refused_is_one_line_and_1(
    shell: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("R2_SECRET_ACCESS_KEY", "wrong")
    answer = call(capfd, "scan")
    assert (answer.code, answer.data) == (1, [])
    assert answer.talk[-1].startswith("r2-hf scan: listing processed/: the secret does not fit the access key; ")
    assert "check R2_SECRET_ACCESS_KEY" in answer.talk[-1]


def test_a_key_that_is_not_planned_is_wrong_usage(shell: World, capfd: pytest.CaptureFixture[str]) -> None:
    shell.upload(episodes={"en": 1}, expect=False)
    shell.scan()
    for key in ("en|chunk_0009", "en-7"):
        answer = call(capfd, "process", "--partition", key)
        assert (answer.code, len(answer.talk)) == (2, 1)
        assert f"{key}: not planned" in answer.talk[0]


def test_a_lost_database_and_a_lost_file(
    shell: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_URL", str(shell.folder / "state"))
    shell.upload(episodes={"en": 3, "de": 1}, expect=False)
    shell.scan()
    shell.build_due()
    home = Path(shell.env["DAGSTER_HOME"])
    shutil.rmtree(home)
    home.mkdir()
    seen = call(capfd, "reconcile")
    assert (seen.code, seen.data) == (
        0,
        [
            "present_unrecorded: de|chunk_0000: 1 files as built; not recorded: hub_commit, parquet_shards",
            "present_unrecorded: en|chunk_0000: 1 files as built; not recorded: hub_commit, parquet_shards",
        ],
    )
    assert shell.due() == ["de|chunk_0000", "en|chunk_0000"]
    recorded = call(capfd, "reconcile", "--record", "--json")
    assert json.loads("\n".join(recorded.data))["recorded_now"] == 2
    assert call(capfd, "process").talk == ["nothing is due"]

    # What the Hub answers to a token that has expired: a repo that is not there, to huggingface_hub.
    expired = {"path_regex": "/revision/main$", "status": 401, "headers": {"X-Error-Code": "RepoNotFound"}}
    shell.sandbox.hub.inject(expired)
    refused = call(capfd, "reconcile")
    assert (refused.code, refused.data, len(refused.talk)) == (1, [], 1)
    assert "set HF_TOKEN to a valid one" in refused.talk[0]

    shell.api().delete_file("data/de/chunk-00000.parquet", repo_id=shell.repo_id, repo_type="dataset")
    seen = call(capfd, "reconcile")
    assert seen.data == ["recorded_absent: de|chunk_0000: 1 of 1 files: data/de/chunk-00000.parquet"]
    assert seen.talk[-1] == "due again; r2-hf process makes them: de|chunk_0000"
    assert call(capfd, "reconcile").data == [], "it is due, as any other chunk"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"de|chunk_0000\n")))
    assert call(capfd, "process", "--partition", "-").code == 0
    assert call(capfd, "reconcile").data == []
    assert len(shell.files()) == 2


def test_the_scripts_calls_as_processes_stopped_and_gone_on_with(shell: World) -> None:
    shell.upload(episodes={"en": 6, "de": 1}, expect=False)
    shell.write_dotenv()
    assert finish(start(shell, "--scan", "--language", "en")) == (0, ["2 chunks planned"])
    assert finish(start(shell, "--scan")) == (0, ["3 chunks planned"])
    shell.sandbox.hub.inject(hanging_commit(shell))
    mark = shell.sandbox.hub.mark()
    stopped = start(shell, "--chunk-mod", "2", "--chunk-rem", "1")
    try:
        wait_for_commit(shell, mark)
        stopped.terminate()
        _, talk = stopped.communicate(timeout=60)
    finally:
        stopped.kill()
        stopped.wait()
        shell.sandbox.hub.clear_faults()
    assert stopped.returncode == 143, talk
    assert talk.strip().splitlines() == ["r2-hf: stopped; what is recorded is done, the rest is due"]
    assert shell.due() == ["de|chunk_0000", "en|chunk_0000", "en|chunk_0001"]
    assert finish(start(shell)) == (0, [])
    assert shell.due() == []
    assert len(shell.commits()) == 3


def test_ctrl_c_leaves_the_rest_due(shell: World, capfd: pytest.CaptureFixture[str]) -> None:
    shell.upload(episodes={"en": 4}, expect=False)
    shell.scan()
    shell.sandbox.hub.inject(hanging_commit(shell))
    mark = shell.sandbox.hub.mark()

    def interrupt() -> None:
        wait_for_commit(shell, mark)
        os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        answer = call(capfd, "process")
    finally:
        thread.join()
        shell.sandbox.hub.clear_faults()
    assert answer.code == 130
    assert [line for line in answer.talk if line] == ["r2-hf: stopped; what is recorded is done, the rest is due"]
    assert shell.due() == ["en|chunk_0000", "en|chunk_0001"]
    assert signal.getsignal(signal.SIGTERM) is handler


def hanging_commit(world: World) -> dict[str, object]:
    return {"method": "POST", "path_regex": f"{world.repo_id}/commit/", "delay_s": 20, "drop": True}


def finish(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Exit code and stdout of a call."""
    out, talk = process.communicate(timeout=120)
    assert "Traceback" not in talk
    return process.returncode, out.splitlines()


def wait_for_commit(world: World, mark: int) -> None:
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        if any("/commit/" in request["path"] for request in world.sandbox.hub.requests(since=mark)):
            return
        time.sleep(0.1)
    raise AssertionError("the run never came as far as its commit")


def test_status_asks_a_fixed_number_of_queries(in_process: World) -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    world = in_process
    world.upload(episodes={"en": 12}, segments=(1, 1), expect=False)
    world.scan()
    settings = load()
    counted: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        counted.append(statement)

    numbers = []
    with DagsterInstance.get() as instance:
        planned = open_plan(settings.plan, settings.r2).planned()
        event.listen(Engine, "before_cursor_execute", count)
        try:
            for chunks in (planned, planned[:1], planned):  # the first time Dagster looks at its tables too
                counted.clear()
                assert overall(instance, chunks, LANGUAGES).total.planned == len(chunks)
                numbers.append(len(counted))
        finally:
            event.remove(Engine, "before_cursor_execute", count)
    assert numbers[1] == numbers[2] > 0
