"""`r2-hf` with the kill points of a site: `python -m r2_hf_assets_tests.soak.command remove en/e1 --reason test`."""

import os
import sys
from pathlib import Path

from r2_hf_assets.cli import main
from r2_hf_assets_tests.soak import kill_points
from r2_hf_assets_tests.soak.targets import MARK

if __name__ == "__main__":
    kill_points.install(Path(os.environ[MARK]))
    sys.exit(main())
