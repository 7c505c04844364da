"""Both servers together: settings, folder, and the commands that start and stop them."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox import HubServer, SandboxError, demo, start_hub, start_sandbox
from r2_hf_sandbox import sandbox as sandbox_module
from r2_hf_sandbox.__main__ import main
from r2_hf_sandbox.hub.server import PACKAGE_ROOT
from r2_hf_sandbox.processes import Process, free_port, start_process, start_time, wait_until
from r2_hf_sandbox.s3.server import S3Server
from r2_hf_sandbox.s3.slow_line import Proxy, start_slow_line
from r2_hf_sandbox.state import State, read_state


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


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A sandbox that is up, and what `up` printed.

    Neither the current directory nor PYTHONPATH leads the detached servers to the package.
    """
    folder = tmp_path_factory.mktemp("up")
    code = f"import sys; sys.path.insert(0, {str(PACKAGE_ROOT)!r}); from r2_hf_sandbox.__main__ import main; main()"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", code, "up", "--folder", str(folder), "--episodes", "2"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, env=env, cwd=folder, timeout=120)
        assert run.returncode == 0, run.stderr
        assert "2 episodes" in run.stderr
        yield folder, run.stdout
    finally:
        main(["down", "--folder", str(folder)])


def _state(folder: Path) -> State:
    state = read_state(folder)
    assert state is not None
    return state


def _etags(folder: Path) -> dict[str, str]:
    state = _state(folder)
    listed = state.s3(folder).client().list_objects_v2(Bucket=state.env["R2_BUCKET"])
    return {found["Key"]: found["ETag"] for found in listed["Contents"]}


def test_up_prints_a_complete_env_file_for_its_owner(up: tuple[Path, str]) -> None:
    folder, printed = up
    settings = dotenv_values(folder / "sandbox.env")
    assert (folder / "sandbox.env").read_text() == printed
    assert (folder / "sandbox.env").stat().st_mode & 0o077 == 0
    assert (settings["HF_ENDPOINT"] or "").startswith("http://127.0.0.1:")
    assert (settings["DAGSTER_MODULE_NAME"], settings["EPISODES_PER_CHUNK"]) == ("", "4")
    home = Path(settings["DAGSTER_HOME"] or "")
    assert (home / "dagster.yaml").exists() and (home / "history").is_dir()


def test_up_again_names_the_options_that_it_ignores(up: tuple[Path, str], capfd: pytest.CaptureFixture[str]) -> None:
    folder, printed = up
    assert main(["up", "--folder", str(folder), "--seed", "3", "--episodes", "9"]) == 0
    again = capfd.readouterr()
    assert again.out == printed
    assert "already up; --seed and --episodes ignored" in again.err
    assert main(["up", "--folder", str(folder)]) == 0
    assert "ignored" not in capfd.readouterr().err


def test_status_names_the_servers(up: tuple[Path, str], capfd: pytest.CaptureFixture[str]) -> None:
    folder, _ = up
    assert main(["status", "--folder", str(folder)]) == 0
    assert f"s3 up {_state(folder).env['R2_ENDPOINT_URL']}" in capfd.readouterr().out


def test_added_episodes_are_new_and_leave_the_others(up: tuple[Path, str], capfd: pytest.CaptureFixture[str]) -> None:
    folder, _ = up
    added: list[set[str]] = []
    for options in (["3", "--language", "en,it"], ["3", "--language", "en,it"], ["2", "--slow"], ["20"]):
        before = _etags(folder)
        assert main(["add-episodes", *options, "--folder", str(folder)]) == 0
        after = _etags(folder)
        assert before.items() <= after.items()
        added.append({key.rpartition("/")[0].removeprefix("processed/") for key in after.keys() - before.keys()})
    assert [len(episodes) for episodes in added] == [3, 3, 2, 20]
    assert [sorted(name.split("/")[0] for name in episodes) for episodes in added[:2]] == [["en", "en", "it"]] * 2
    assert all("/slow" in name for name in added[2])
    assert len({name.split("/")[0] for name in added[3]}) > 5
    assert "3 episodes" in capfd.readouterr().err


def test_down_stops_every_server(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--folder", str(tmp_path)]
    try:
        assert main(["up", "--episodes", "0", *options]) == 0
        pids = [process["pid"] for process in json.loads((tmp_path / "sandbox.json").read_text())["processes"].values()]
        assert len(pids) == 3 and all(start_time(pid) for pid in pids)
    finally:
        assert main(["down", *options]) == 0
    assert not any(start_time(pid) for pid in pids)
    assert main(["status", *options]) == 3
    assert main(["down", *options]) == 0
    capfd.readouterr()
    assert main(["add-episodes", "1", *options]) == 1
    assert capfd.readouterr().err.startswith("sandbox: no sandbox is up in ")


def _client(server: S3Server, endpoint_url: str) -> Any:
    return replace(server, endpoint_url=endpoint_url).client()


def test_only_the_audio_of_slow_episodes_waits_for_its_turn(world: World) -> None:
    s3 = world.sandbox.s3
    slow, quick = (
        {"Bucket": world.bucket, "Key": f"processed/en/{name}1/{name}1_000000.mp3"} for name in ("slow", "ep")
    )
    for place in (slow, quick):
        s3.client().put_object(**place, Body=b"sound")
    with Proxy(s3.endpoint_url) as proxy, ThreadPoolExecutor(1) as pool:
        client = _client(s3, proxy.endpoint_url)
        with proxy.turn:
            waiting = pool.submit(lambda: client.get_object(**slow)["Body"].read())
            assert client.get_object(**quick)["Body"].read() == b"sound"
            assert not wait_until(waiting.done, 0.5)
        assert waiting.result(60) == b"sound"


def test_the_slow_line_is_a_process(world: World, tmp_path: Path) -> None:
    s3 = world.sandbox.s3
    s3.client().put_object(Bucket=world.bucket, Key="a", Body=b"1")
    line = start_slow_line(tmp_path, s3.endpoint_url)
    try:
        assert _client(s3, line.endpoint_url).get_object(Bucket=world.bucket, Key="a")["Body"].read() == b"1"
    finally:
        line.stop()
    assert not line.process.alive() and not line.responds()


def test_a_users_env_file_does_not_lead_the_demo_elsewhere(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.upload(episodes={"en": 1}, expect=False)
    (world.folder / ".env").write_text("R2_BUCKET=production\n")
    monkeypatch.chdir(world.folder)
    demo.run_command("scan", world.env, Path(world.env["DAGSTER_HOME"]))


def test_a_folder_without_a_sandbox_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down", "--folder", str(tmp_path / "nowhere")]) == 1
    (tmp_path / "sandbox.json").write_text("{}")
    assert main(["status", "--folder", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("sandbox: ") for line in lines)


@pytest.mark.parametrize("command", ["demo", "demo-down"])
def test_a_folder_with_other_files_is_not_removed(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "thesis.tex"
    mine.touch()
    assert main([command, "--folder", str(tmp_path)]) == 1
    assert mine.exists() and "no sandbox.json, so it is kept" in capsys.readouterr().err
