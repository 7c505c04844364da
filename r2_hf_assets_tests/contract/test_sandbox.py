"""Both servers together: settings, folder, and the commands that start and stop them."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from r2_hf_sandbox import HubServer, SandboxError, start_hub, start_sandbox
from r2_hf_sandbox import sandbox as sandbox_module
from r2_hf_sandbox.__main__ import main
from r2_hf_sandbox.hub.server import PACKAGE_ROOT
from r2_hf_sandbox.processes import Process, free_port, start_process, start_time, wait_until


def test_a_sandbox_has_settings_and_removes_its_folder() -> None:
    with start_sandbox() as sandbox:
        env = sandbox.env()
        assert sorted(env) == sorted(
            "R2_ENDPOINT_URL R2_ACCESS_KEY_ID R2_SECRET_ACCESS_KEY R2_BUCKET HF_REPO_ID HF_TOKEN HF_ENDPOINT "
            "HF_HOME".split()
        )
        assert env["R2_BUCKET"] in [bucket["Name"] for bucket in sandbox.s3.client().list_buckets()["Buckets"]]
        assert Path(env["HF_HOME"]).is_relative_to(sandbox.folder)
        assert sandbox.s3.secret_key not in repr(sandbox)
        assert sandbox.hub.token not in repr(sandbox)
    assert not sandbox.folder.exists()
    assert not sandbox.s3.process.alive()
    assert not sandbox.hub.process.alive()


def test_a_failed_server_stops_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[HubServer] = []

    def no_s3(*_: object, **__: object) -> None:
        raise SandboxError("no S3")

    def recorded_hub(*arguments: object, **options: object) -> HubServer:
        started.append(start_hub(*arguments, **options))  # type: ignore[arg-type]
        return started[0]

    monkeypatch.setattr(sandbox_module, "start_s3", no_s3)
    monkeypatch.setattr(sandbox_module, "start_hub", recorded_hub)
    with pytest.raises(SandboxError, match="no S3"):
        start_sandbox(tmp_path)
    assert [hub.process.alive() for hub in started] == [False]


def test_a_server_started_by_a_thread_outlives_the_thread(tmp_path: Path) -> None:
    started: list[HubServer] = []
    thread = threading.Thread(target=lambda: started.append(start_hub(tmp_path)))
    thread.start()
    thread.join()
    with started[0] as hub:
        assert not wait_until(lambda: not hub.process.alive(), 0.7)
        assert hub.requests()


def test_a_taken_port_is_reported(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(SandboxError, match="address already in use"):
            start_hub(tmp_path, port=taken.getsockname()[1])


def test_a_free_port_and_its_grpc_port_can_be_bound() -> None:
    port = free_port(grpc=True)
    for number in (port, port + 10_000):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", number))


def test_a_recycled_pid_is_not_signalled(tmp_path: Path) -> None:
    sleeper = start_process(["sleep", "30"], log=tmp_path / "log", detach=True, grace_s=1)
    try:
        Process(sleeper.pid, "another time", tmp_path / "log").stop(1)
        assert sleeper.alive()
    finally:
        sleeper.stop(1)
    assert not sleeper.alive()


def test_up_status_and_down(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--folder", str(tmp_path), "--episodes", "2"]
    # Neither the current directory nor PYTHONPATH leads the detached Hub to the package.
    code = f"import sys; sys.path.insert(0, {str(PACKAGE_ROOT)!r}); from r2_hf_sandbox.__main__ import main; main()"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", code, "up", *options]
    try:
        up = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, timeout=60)
        assert up.returncode == 0, up.stderr
        assert "2 episodes" in up.stderr
        settings = dict(line.split("=", 1) for line in up.stdout.splitlines())
        assert (tmp_path / "sandbox.env").read_text() == up.stdout
        assert (tmp_path / "sandbox.env").stat().st_mode & 0o077 == 0
        assert settings["HF_ENDPOINT"].startswith("http://127.0.0.1:")
        assert main(["up", *options]) == 0
        assert "already up" in capfd.readouterr().err
        assert main(["status", *options]) == 0
        assert settings["R2_ENDPOINT_URL"] in capfd.readouterr().out
        pids = [process["pid"] for process in json.loads((tmp_path / "sandbox.json").read_text())["processes"].values()]
        assert all(start_time(pid) for pid in pids)
    finally:
        assert main(["down", "--folder", str(tmp_path)]) == 0
    assert not any(start_time(pid) for pid in pids)
    assert main(["status", "--folder", str(tmp_path)]) == 3
    assert main(["down", "--folder", str(tmp_path)]) == 0


def test_a_folder_without_a_sandbox_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down", "--folder", str(tmp_path / "nowhere")]) == 1
    (tmp_path / "sandbox.json").write_text("{}")
    assert main(["status", "--folder", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("sandbox: ") for line in lines)
