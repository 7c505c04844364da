"""Fixtures for a small disk, skipped where none can be mounted."""

import pytest

from r2_hf_assets_tests.fault.disk.small_disk import SmallDisk, find_namespace_command
from r2_hf_assets_tests.support.world import World


@pytest.fixture(scope="session")
def namespace() -> tuple[str, ...]:
    """The command that opens a mount namespace. test_disk.py tests the rules without one."""
    command = find_namespace_command()
    if command is None:
        pytest.skip("no disk can be mounted here: `unshare` has neither user namespaces nor root")
    return command


@pytest.fixture
def disk(world: World, namespace: tuple[str, ...]) -> SmallDisk:
    """A disk of 1 MB, enough for a chunk of two short episodes, the plan and the Hub's caches."""
    return SmallDisk(world.folder / "disk", "1m", namespace)
