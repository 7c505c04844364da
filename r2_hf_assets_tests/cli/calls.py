"""Calls of `r2-hf`, in this process and in a process of its own."""

import subprocess
from dataclasses import dataclass

import pytest

from r2_hf_assets.cli import main
from r2_hf_assets_tests.support.world import BIN, World


@dataclass(frozen=True)
class CallResult:
    """The exit code of a call, and the lines of stdout and stderr."""

    code: int
    stdout: list[str]
    stderr: list[str]


def call(capfd: pytest.CaptureFixture[str], *arguments: str) -> CallResult:
    """Run a command in this process."""
    capfd.readouterr()
    code = main(arguments)
    out, err = capfd.readouterr()
    return CallResult(code, out.splitlines(), err.splitlines())


def start(world: World, *arguments: str) -> subprocess.Popen[str]:
    """Start the installed command in the world's folder."""
    env = world.command_env()
    del env["DAGSTER_MODULE_NAME"]
    return subprocess.Popen(
        [str(BIN / "r2-hf"), *arguments],
        cwd=world.folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
