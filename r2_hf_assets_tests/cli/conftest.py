"""What the tests of commands share."""

import pytest

from r2_hf_assets_tests.world import World


@pytest.fixture
def shell(in_process: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose folder is the current one."""
    monkeypatch.chdir(in_process.folder)
    return in_process
