"""Fixtures of the command tests."""

import pytest

import r2_hf_assets.definitions  # noqa: F401  (reads the environment on import, so before any test sets a variable)
from r2_hf_assets_tests.support.world import World


@pytest.fixture
def shell(in_process: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose folder is the working directory."""
    monkeypatch.chdir(in_process.folder)
    return in_process
