"""scan, process, status and reconcile on a real bucket and Hub."""

import gc
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
from r2_hf_assets.runs.progress import read_progress
from r2_hf_assets.settings import load
from r2_hf_assets_tests.cli.calls import call, start
from r2_hf_assets_tests.support.build_samples import put_episode
from r2_hf_assets_tests.support.world import World, materializations


def test_the_whole_job_by_calls_of_the_script(shell: World, capfd: pytest.CaptureFixture[str]) -> None:
    shell.upload(episodes={"en": 7, "de": 1}, expect=False)
    scanned = call(capfd, "--scan", "--lang", "en,fr", "--language", "en-US")
    assert (scanned.code, scanned.stdout) == (0, ["3 chunks planned"])
    assert "7 newly planned in 3 chunks" in scanned.stderr[-1]
    assert call(capfd, "scan").stdout == ["4 chunks planned"]
    share = call(capfd, "--language", "en", "--chunk-mod", "2", "--chunk-rem", "1")
    assert (share.code, share.stdout) == (0, [])
    assert shell.files() == ["data/en/chunk-00001.parquet"]
    assert [line for line in share.stderr if line.startswith("en|chunk_0001: done, 3 episodes, ")]
    assert share.stderr[-1] == "1 chunk done, 0 failed"
    assert call(capfd, "process", "--language", "de", "--lang", "es, en", "--dry-run").stdout == [
        "de|chunk_0000",
        "en|chunk_0000",
        "en|chunk_0002",
    ]
    planned = call(capfd, "process", "--lang=en,es", "--dry-run")
    assert (planned.code, planned.stdout) == (0, ["en|chunk_0000", "en|chunk_0002"])
    assert planned.stderr == ["would do 2 chunks, 4 episodes"]
    assert shell.files() == ["data/en/chunk-00001.parquet"]
    limited = call(capfd, "process", "--language", "en", "--limit", "1")
    assert limited.code == 0
    assert shell.due() == ["de|chunk_0000", "en|chunk_0002"]
    rest = call(capfd)
    assert rest.code == 0
    assert len(shell.files()) == 4
    again = call(capfd, "process")
    assert (again.code, again.stderr) == (0, ["nothing is due"])
    once_more = call(capfd, "process", "--partition", "de|chunk_0000")
    assert once_more.code == 0
    assert len(materializations(shell, "hub_commit", "de|chunk_0000")) == 2
    assert len(shell.commits()) == 4


def test_a_failed_chunk_is_reported_and_the_rest_completes(
    shell: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shell.upload(episodes={"en": 3}, expect=False)
    put_episode(shell.store(), "de/late", without=[1])
    shell.scan()
    monkeypatch.setenv("SETTLE_MINUTES", "60")
    result = call(capfd, "process")
    assert result.code == 1
    (failed,) = [line for line in result.stderr if "FAILED" in line]
    assert [line for line in result.stderr if line.startswith((" ", "Traceback"))] == []
    assert failed.startswith("de|chunk_0000: FAILED: ")
    assert result.stderr[-1] == "1 chunk done, 1 failed; what failed is still due"
    assert shell.files() == ["data/en/chunk-00000.parquet"]
    shown = json.loads("\n".join(call(capfd, "status", "--json").stdout))
    assert list(shown) == ["languages", "total", "pace", "left_out", "last_commit"]
    assert (shown["total"]["planned"], shown["total"]["due"], shown["total"]["next"]) == (2, 1, "de|chunk_0000")
    assert shown["pace"] is None  # one chunk is no pace
    hours = shown["languages"][1].pop("hours")
    assert 0 < hours == shown["total"]["hours"]
    rows, size = (shown["languages"][1].pop(name) for name in ("rows", "bytes"))
    assert rows == shown["total"]["rows"] == shell.table().num_rows and size == shown["total"]["bytes"] > 0
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
            "rows": 0,
            "bytes": 0,
            "quota_wait_s": 0.0,
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
            "quota_wait_s": 0.0,
            "next": None,
        },
    ]
    table = call(capfd, "status").stdout
    assert gc.isenabled()
    assert [line.split() for line in table] == [
        ["language", "planned", "episodes", "built", "committed", "failed", "due", "hours", "next"],
        ["de", "1", "1", "0", "0", "1", "1", "0.00", "de|chunk_0000"],
        ["en", "1", "3", "1", "1", "0", "0", f"{hours:.2f}", "-"],
        ["total", "2", "4", "1", "1", "1", "1", f"{hours:.2f}", "de|chunk_0000"],
    ]
    put_episode(shell.store(), "de/late")
    assert call(capfd, "process").code == 0
    assert shell.due() == []


def test_a_rejected_scan_is_one_line_and_exit_code_1(
    shell: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("R2_SECRET_ACCESS_KEY", "wrong")
    result = call(capfd, "scan")
    assert (result.code, result.stdout) == (1, [])
    assert result.stderr[-1].startswith("r2-hf scan: listing processed/: the secret does not match the access key; ")
    assert "check R2_SECRET_ACCESS_KEY" in result.stderr[-1]


def test_an_unplanned_key_is_wrong_usage(shell: World, capfd: pytest.CaptureFixture[str]) -> None:
    shell.upload(episodes={"en": 1}, expect=False)
    shell.scan()
    for key in ("en|chunk_0009", "en-7"):
        result = call(capfd, "process", "--partition", key)
        assert (result.code, len(result.stderr)) == (2, 1)
        assert f"{key}: not planned" in result.stderr[0]


def test_a_lost_database_and_a_lost_file_are_restored(
    shell: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_URL", str(shell.folder / "state"))
    shell.upload(episodes={"en": 3, "de": 1}, expect=False)
    shell.scan()
    shell.build_due()
    home = Path(shell.env["DAGSTER_HOME"])
    shutil.rmtree(home)
    home.mkdir()
    report = call(capfd, "reconcile")
    assert (report.code, report.stdout) == (
        0,
        [
            "present_unrecorded: de|chunk_0000: 2 files as built; not recorded: hub_commit, parquet_shards",
            "present_unrecorded: en|chunk_0000: 2 files as built; not recorded: hub_commit, parquet_shards",
        ],
    )
    assert shell.due() == ["de|chunk_0000", "en|chunk_0000"]
    recorded = call(capfd, "reconcile", "--record", "--json")
    assert json.loads("\n".join(recorded.stdout))["recorded_now"] == 2
    assert call(capfd, "process").stderr == ["nothing is due"]

    # The Hub's response to an expired token. To huggingface_hub it is a repo that does not exist.
    expired = {"path_regex": "/revision/main$", "status": 401, "headers": {"X-Error-Code": "RepoNotFound"}}
    shell.sandbox.hub.inject(expired)
    refused = call(capfd, "reconcile")
    assert (refused.code, refused.stdout, len(refused.stderr)) == (1, [], 1)
    assert "set HF_TOKEN to a valid one" in refused.stderr[0]

    shell.api().delete_file("data/de/chunk-00000.parquet", repo_id=shell.repo_id, repo_type="dataset")
    report = call(capfd, "reconcile")
    assert report.stdout == ["recorded_absent: de|chunk_0000: 1 of 2 files: data/de/chunk-00000.parquet"]
    assert report.stderr[-1] == "due again; r2-hf process builds them: de|chunk_0000"
    left = "present_unrecorded: de|chunk_0000: 1 file, not those of a build record"
    assert call(capfd, "reconcile").stdout == [left], "it is due like any other chunk; its index is there"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"de|chunk_0000\n")))
    assert call(capfd, "process", "--partition", "-").code == 0
    assert call(capfd, "reconcile").stdout == []
    assert len(shell.files()) == 2


def test_calls_of_the_script_as_processes_resume_after_sigterm(shell: World) -> None:
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
        _, stderr = stopped.communicate(timeout=60)
    finally:
        stopped.kill()
        stopped.wait()
        shell.sandbox.hub.clear_faults()
    assert stopped.returncode == 143, stderr
    assert stderr.strip().splitlines() == ["r2-hf: stopped; what is recorded is done, the rest is due"]
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
        result = call(capfd, "process")
    finally:
        thread.join()
        shell.sandbox.hub.clear_faults()
    assert result.code == 130
    assert [line for line in result.stderr if line] == ["r2-hf: stopped; what is recorded is done, the rest is due"]
    assert shell.due() == ["en|chunk_0000", "en|chunk_0001"]
    assert signal.getsignal(signal.SIGTERM) is handler


def hanging_commit(world: World) -> dict[str, object]:
    return {"method": "POST", "path_regex": f"{world.repo_id}/commit/", "delay_s": 20, "drop": True}


def finish(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Return the exit code and stdout of a call."""
    out, stderr = process.communicate(timeout=120)
    assert "Traceback" not in stderr
    return process.returncode, out.splitlines()


def wait_for_commit(world: World, mark: int) -> None:
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        if any("/commit/" in request["path"] for request in world.sandbox.hub.requests(since=mark)):
            return
        time.sleep(0.1)
    raise AssertionError("the run sent no commit")


def test_status_makes_a_fixed_number_of_queries(in_process: World) -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    world = in_process
    world.upload(episodes={"en": 12}, segments=(1, 1), expect=False)
    world.scan()
    settings = load()
    queries: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        queries.append(statement)

    numbers = []
    with DagsterInstance.get() as instance:
        planned = open_plan(settings.plan, settings.r2).planned()
        event.listen(Engine, "before_cursor_execute", count)
        try:
            for chunks in (planned, planned[:1], planned):  # at first Dagster reads its tables too
                queries.clear()
                assert read_progress(instance, chunks, LANGUAGES).total.planned == len(chunks)
                numbers.append(len(queries))
        finally:
            event.remove(Engine, "before_cursor_execute", count)
    assert numbers[1] == numbers[2] > 0
