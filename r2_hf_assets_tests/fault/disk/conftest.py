"""A small disk where this machine can mount one."""

import pytest

from r2_hf_assets_tests.fault.disk.small_disk import SmallDisk, way_in
from r2_hf_assets_tests.support.world import World


@pytest.fixture(scope="session")
def namespace() -> tuple[str, ...]:
    """The command that opens a mount namespace. The rules are tested without one, too, in test_disk.py."""
    command = way_in()
    if command is None:
        pytest.skip("no disk can be mounted here: neither a user namespace nor root's right to make one (`unshare`)")
    return command


@pytest.fixture
def disk(world: World, namespace: tuple[str, ...]) -> SmallDisk:
    """1 MB at `disk` in the world's folder: room for a chunk of two short episodes, the plan and the Hub's caches."""
    return SmallDisk(world.folder / "disk", "1m", namespace)
