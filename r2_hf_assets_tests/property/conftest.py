"""Profiles of hypothesis. The default one draws 100 examples, the same in each run.

    HYPOTHESIS_PROFILE=soak python -m pytest r2_hf_assets_tests/property --timeout 0

draws 5,000 new ones in each run, or with `--hypothesis-seed N` those of a seed. A failure prints a decorator that
reproduces it. No files are written.
"""

import os
import tempfile

from hypothesis import HealthCheck, Verbosity, settings
from hypothesis.configuration import set_hypothesis_home_dir

_HOME = tempfile.TemporaryDirectory(prefix="hypothesis-")  # removed when the process ends
set_hypothesis_home_dir(_HOME.name)

settings.register_profile(
    "default",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile(
    "soak", settings.get_profile("default"), derandomize=False, max_examples=5000, verbosity=Verbosity.normal
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
