"""Help, wrong usage and missing settings of `r2-hf`, all without Dagster."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from r2_hf_assets.cli import main
from r2_hf_assets.cli.commands import commands
from r2_hf_assets.settings import VARIABLES
from r2_hf_assets_tests.cli.calls import call
from r2_hf_assets_tests.conftest import REQUIRED
from r2_hf_assets_tests.support.world import BIN, ROOT

LARGE = ["dagster", "pyarrow", "duckdb", "boto3", "obstore", "huggingface_hub", "pydantic", "langcodes"]


@pytest.fixture
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and none of the variables set."""
    for name in [*(variable.name for variable in VARIABLES), "DAGSTER_HOME"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("called", "frozen"), [("sys.argv[1:] = ['-h']; main()", True), ("main(['-h'])", False)])
def test_the_garbage_collection_at_exit_is_skipped_by_the_command_only(called: str, frozen: bool) -> None:
    report = "import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count() > 1000))"
    code = f"{report}; from r2_hf_assets.cli import main; {called}"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == str(frozen)


def loaded_by(*calls: list[str], folder: Path = ROOT, **env: str) -> list[str]:
    """Return the modules that successful calls load in a process of their own."""
    code = (
        f"import sys\nfrom r2_hf_assets.cli import main\ncode = max(main(call) for call in {calls!r})\n"
        "print(*sys.modules, file=sys.stderr)\nsys.exit(code)"
    )
    path = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=path | env, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()[-1].split()


def test_help_loads_no_command() -> None:
    ours = [name for name in loaded_by(["--help"]) if name.startswith("r2_hf_assets.")]
    assert sorted(ours) == [f"r2_hf_assets.{name}" for name in ("cli", "cli.commands", "cli.output", "errors")]


def test_help_of_the_commands_loads_no_large_library() -> None:
    loaded = loaded_by(*([command, "--help"] for command in commands.commands))
    assert {f"r2_hf_assets.cli.{name}" for name in ("process", "status", "scan")} < set(loaded)
    assert set(loaded) & {*LARGE, "r2_hf_assets.settings"} == set()


def test_status_loads_dagster_and_nothing_else_that_is_large(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    home = {"DAGSTER_HOME": str(tmp_path / "home"), "DAGSTER_DISABLE_TELEMETRY": "1"}
    loaded = set(loaded_by(["status"], folder=tmp_path, **REQUIRED, LANGUAGES="en,de", **home))
    # obstore reads the plan, pydantic is Dagster's.
    assert loaded & {*LARGE, "r2_hf_assets.definitions", "dagster_webserver", "soundfile", "numpy"} == {
        "dagster",
        "obstore",
        "pydantic",
    }


def test_each_command_has_a_line_in_the_help() -> None:
    for name, shown in commands.commands.items():
        _, called, _ = commands.resolve_command(click.Context(commands), [name])
        assert called is not None and called.name == name and called.help
        assert shown.short_help and len(shown.short_help) <= 65, "it fits into 80 columns"


def test_the_help_names_every_command_and_the_exit_codes(capfd: pytest.CaptureFixture[str]) -> None:
    result = call(capfd, "--help")
    text = "\n".join(result.stdout)
    assert all(f"\n  {name} " in text for name in commands.commands)
    for code in (
        "0    done",
        "1    something failed",
        "2    wrong usage or settings",
        "130  stopped by Ctrl-C, 143 by",
    ):
        assert f"    {code}" in text
    assert "r2-hf --scan --language en" in text


@pytest.mark.parametrize("command", [[BIN / "r2-hf"], [sys.executable, "-m", "r2_hf_assets.cli"]])
def test_the_command_is_installed(command: list[str]) -> None:
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: r2-hf")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["status", "--frobnicate"], "No such option"),
        (["--language", "en", "status"], "unexpected extra argument (status)"),
        (["--scan", "--chunk-mod", "2"], "No such option '--chunk-mod'"),
        (["process", "--chunk-mod", "4"], "--chunk-mod and --chunk-rem go together"),
        (["--chunk-mod", "4", "--chunk-rem", "4"], "--chunk-rem must be below --chunk-mod: 0 to 3"),
        (["process", "--limit", "0"], "--limit"),
        (["scan", "--language", "klingon"], "--language: 'klingon' is no known language"),
        (["--language", "klingon"], "--language: 'klingon' is no known language"),
        (["process", "--lang", "en,klingon"], "--language: 'klingon' is no known language"),
        (["scan", "--language", ","], "it names no language"),
        (["reconcile", "--record", "--dry-run"], "--dry-run excludes --record and --write-index"),
        (["import"], "--work-plan"),
        (["import", "--work-plan", "no.json"], "no.json"),
        (["sandbox", "frobnicate"], "No such command 'frobnicate'"),
        (["sandbox", "add-episodes", "none"], "'none' is not a valid integer"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    nothing_set: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    result = call(capfd, *arguments)
    assert (result.code, result.stdout, len(result.stderr)) == (2, [], 1)
    assert result.stderr[0].startswith("r2-hf: ")
    assert message in result.stderr[0]


def test_a_sandbox_that_is_not_installed_is_one_line(
    nothing_set: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "r2_hf_sandbox.__main__", None)
    result = call(capfd, "sandbox", "up")
    assert (result.code, result.stdout, len(result.stderr)) == (1, [], 1)
    assert "comes with a checkout" in result.stderr[0]


@pytest.mark.parametrize("arguments", [["scan"], ["process"], [], ["--scan"], ["status"], ["reconcile"]])
def test_missing_settings_are_one_line_and_exit_code_2(
    nothing_set: Path, capfd: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    result = call(capfd, *arguments)
    assert (result.code, result.stdout, len(result.stderr)) == (2, [], 1)
    assert result.stderr[0].startswith("r2-hf: settings: not set: R2_ENDPOINT_URL")


SET = REQUIRED | {"STATE_URL": "state"}


@pytest.mark.parametrize(
    ("home", "message"),
    [
        ("", "DAGSTER_HOME is not set"),
        ("relative", "DAGSTER_HOME=relative is a relative path: set the absolute one, /"),
        ("/dev/null", "DAGSTER_HOME=/dev/null is a file"),
        ("/no/such/folder", "DAGSTER_HOME=/no/such/folder does not exist: create this folder, or correct .env"),
    ],
)
def test_commands_refuse_a_missing_dagster_home(
    nothing_set: Path, capfd: pytest.CaptureFixture[str], home: str, message: str
) -> None:
    write_dotenv(nothing_set, **SET, DAGSTER_HOME=home)
    for command in (["status"], ["process"], ["scan"], ["reconcile"]):
        result = call(capfd, *command)
        assert (result.code, result.stdout, len(result.stderr)) == (2, [], 1)
        assert message in result.stderr[0]


def test_dotenv_overrides_the_shell(
    nothing_set: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_dotenv(nothing_set, **SET, DOWNLOAD_WORKERS="many")
    monkeypatch.setenv("DOWNLOAD_WORKERS", "16")
    result = call(capfd, "status")
    assert result.code == 2
    assert "DOWNLOAD_WORKERS='many'" in result.stderr[0]


def write_dotenv(folder: Path, **values: str) -> None:
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))


@pytest.fixture(autouse=True)
def restored_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the variables that a .env sets."""
    for name in [*(variable.name for variable in VARIABLES), "DAGSTER_HOME"]:
        monkeypatch.setenv(name, os.environ.get(name, ""))


def test_main_returns_the_exit_code(nothing_set: Path) -> None:
    assert main(["--help"]) == 0
