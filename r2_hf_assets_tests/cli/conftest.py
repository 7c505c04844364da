"""What the tests of commands share."""

import pytest

import r2_hf_assets.definitions  # noqa: F401  (loaded before any test sets a variable: it reads them when it is loaded)
from r2_hf_assets_tests.support.world import World


@pytest.fixture
def shell(in_process: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose folder is the current one."""
    monkeypatch.chdir(in_process.folder)
    return in_process
