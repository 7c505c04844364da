"""The browser, and a world that the tests of a module share."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from r2_hf_assets.settings import VARIABLES
from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox.sandbox import Sandbox


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The distribution's browser; `make test` and `make browser` install it where they can."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium: `sh scripts/get-chromium.sh` installs it, as root or with sudo")
    return Path(path)


@contextmanager
def shared_world(sandbox: Sandbox, folder: Path, **settings: str) -> Iterator[World]:
    """A world for all tests of a module, its variables in this process's environment."""
    world = World.make(sandbox, folder, folder.name)
    world.env.update(settings)
    with pytest.MonkeyPatch.context() as patch:
        for variable in VARIABLES:
            patch.delenv(variable.name, raising=False)
        for name, value in world.env.items():
            patch.setenv(name, value)
        yield world
