"""The collector is left alone where it has nothing to find, and does its work again afterwards."""

import gc
import subprocess
import sys

import pytest

from r2_hf_assets.collector import no_collections

SAYS = "lambda: print(gc.get_threshold()[0], gc.isenabled(), gc.get_freeze_count() > 1000)"


def at_exit(code: str) -> str:
    """What the collector looks like at the very end of a process that ran `code`."""
    whole = f"import atexit, gc, sys; atexit.register({SAYS}); {code}"
    done = subprocess.run([sys.executable, "-c", whole], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1]


def test_a_command_looks_seldom_and_not_at_its_end():
    command = "sys.argv = ['r2-hf', '--help']; from r2_hf_assets.cli import main; main()"
    assert at_exit(command) == "100000 True True"


def test_whoever_calls_a_command_keeps_the_collector():
    assert at_exit("from r2_hf_assets.cli import main; main(['--help'])") == f"{gc.get_threshold()[0]} True False"


@pytest.mark.parametrize("enabled", [True, False])
def test_no_collections_leaves_things_as_they_were(enabled):
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with pytest.raises(LookupError), no_collections():
            assert not gc.isenabled()
            raise LookupError
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()
