"""Ctrl-C of `r2-hf scan`, at each wait for a server that is silent or busy."""

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
SOON_S = 10.0  # on a busy machine; a scan that waits takes minutes
SENT_S = 0.3  # from the request at the server until the client waits for the response
STOPPED = "r2-hf: stopped; what is recorded is done, the rest is due"
FIRST_REQUEST, FOLDERS = "max-keys=1(&|$)", "prefix=processed%2F&delimiter=%2F"
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
    ("path", "fault"),
    [(FIRST_REQUEST, SILENT), (FOLDERS, SILENT), (EPISODES, BUSY), (PLAN, SILENT), (PLAN, BUSY)],
    ids=["first request, silent", "folders, silent", "episodes, busy", "plan, silent", "plan, busy"],
)
def test_ctrl_c_ends_a_waiting_scan(
    proxy: S3Faults, path: str, fault: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    proxy.inject(S3Fault(path, times=FOR_EVER, **fault))
    interrupted: list[float] = []

    def interrupt() -> None:
        if wait_until(lambda: proxy.count(path) > 0, PATIENCE_S):
            time.sleep(SENT_S)
        interrupted.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        result = call(capfd, "scan")
        took = time.monotonic() - interrupted[0]
    finally:
        thread.join()
    assert (result.code, result.stderr[-1]) == (130, STOPPED)
    assert proxy.count(path) > 0 and took < SOON_S


def test_ctrl_c_ends_the_process_of_a_waiting_scan(in_process: World, proxy: S3Faults) -> None:
    """Its threads do not delay the interpreter's exit."""
    proxy.inject(S3Fault(EPISODES, times=FOR_EVER, **SILENT))
    in_process.write_dotenv()
    process = start(in_process, "scan")
    try:
        assert wait_until(lambda: proxy.count(EPISODES) > 0, PATIENCE_S), process.communicate()
        time.sleep(SENT_S)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=PATIENCE_S)
        took = time.monotonic() - started
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, stderr.splitlines()[-1]) == (130, STOPPED)
    assert took < SOON_S
