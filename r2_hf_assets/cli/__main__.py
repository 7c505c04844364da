"""`python -m r2_hf_assets.cli`: the same as `r2-hf`."""

import sys

from r2_hf_assets.cli import main

sys.exit(main())
