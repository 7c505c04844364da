"""Ctrl-C of `r2-hf scan`, wherever it waits for a server that is silent or in trouble."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from r2_hf_assets_tests.cli.calls import call, start
from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox.processes import wait_until
from r2_hf_sandbox.s3.faults import FOR_EVER, S3Fault, S3Faults

PATIENCE_S = 90.0
SOON_S = 10.0  # two seconds, and what a busy machine adds; a scan that waits takes minutes
ASKED_S = 0.3  # from the request at the server until the client waits for its answer
STOPPED = "r2-hf: stopped; what is recorded is done, the rest is due"
FIRST_LOOK, FOLDERS = "max-keys=1(&|$)", "prefix=processed%2F&delimiter=%2F"
EPISODES, PLAN = "prefix=processed%2Fen%2F", "/state/"
SILENT: dict[str, Any] = {"kind": "delay", "delay_s": 600.0}
BUSY: dict[str, Any] = {"kind": "status", "status": 503, "code": "SlowDown"}


@pytest.fixture
def proxy(in_process: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Faults]:
    world = in_process
    with S3Faults(world.sandbox.s3.endpoint_url) as faults:
        world.env |= {"R2_ENDPOINT_URL": faults.endpoint_url, "STATE_URL": f"s3://{world.bucket}/state"}
        for name, value in world.env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(world.folder)
        for folder in ("en", "de"):
            world.store().put(f"processed/{folder}/ep1/all_segments.json", b"[]")
        yield faults


@pytest.mark.parametrize(
    ("path", "trouble"),
    [(FIRST_LOOK, SILENT), (FOLDERS, SILENT), (EPISODES, BUSY), (PLAN, SILENT), (PLAN, BUSY)],
    ids=["first look, silent", "folders, silent", "episodes, busy", "plan, silent", "plan, busy"],
)
def test_control_c_ends_a_scan_that_waits(
    proxy: S3Faults, path: str, trouble: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    proxy.inject(S3Fault(path, times=FOR_EVER, **trouble))
    interrupted: list[float] = []

    def interrupt() -> None:
        if wait_until(lambda: proxy.count(path) > 0, PATIENCE_S):
            time.sleep(ASKED_S)
        interrupted.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        answer = call(capfd, "scan")
        took = time.monotonic() - interrupted[0]
    finally:
        thread.join()
    assert (answer.code, answer.talk[-1]) == (130, STOPPED)
    assert proxy.count(path) > 0 and took < SOON_S


def test_control_c_ends_the_process_of_a_scan_too(in_process: World, proxy: S3Faults) -> None:
    """Its threads do not hold the interpreter."""
    proxy.inject(S3Fault(EPISODES, times=FOR_EVER, **SILENT))
    in_process.write_dotenv()
    process = start(in_process, "scan")
    try:
        assert wait_until(lambda: proxy.count(EPISODES) > 0, PATIENCE_S), process.communicate()
        time.sleep(ASKED_S)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=PATIENCE_S)
        took = time.monotonic() - begun
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, talk.splitlines()[-1]) == (130, STOPPED)
    assert took < SOON_S
