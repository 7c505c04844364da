"""How many examples a property is tried on. The usual profile draws the same ones every time, and few enough for CI.

    HYPOTHESIS_PROFILE=soak python -m pytest r2_hf_assets_tests/property --timeout 0

draws fifty times as many, other ones every time; `--hypothesis-seed N` draws those of a seed. A failure prints what to
write into the test to see it again. Nothing is kept on the disk.
"""

import os
import tempfile

from hypothesis import HealthCheck, Verbosity, settings
from hypothesis.configuration import set_hypothesis_home_dir

_HOME = tempfile.TemporaryDirectory(prefix="hypothesis-")  # removed when the process ends
set_hypothesis_home_dir(_HOME.name)

settings.register_profile(
    "usual",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile(
    "soak", settings.get_profile("usual"), derandomize=False, max_examples=5000, verbosity=Verbosity.normal
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))
