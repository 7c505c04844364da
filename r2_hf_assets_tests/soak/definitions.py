"""The product's definitions as a site's processes load them: with kill points and quick heartbeats."""

import os
from pathlib import Path

from r2_hf_assets_tests.integration.quick_definitions import defs
from r2_hf_assets_tests.soak import kill_points
from r2_hf_assets_tests.soak.targets import MARK

__all__ = ["defs"]

if MARK in os.environ:
    kill_points.install(Path(os.environ[MARK]))
