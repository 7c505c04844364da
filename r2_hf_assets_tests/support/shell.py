"""Hides the shell's settings from the tests when it is imported; GIVEN has what was set before.

DAGSTER_HOME is hidden too: else the grid lists what is planned in a developer's home. Dagster's definitions read the
environment when they are imported, so this module comes first.
"""

import os

from r2_hf_assets.settings import VARIABLES

GIVEN = dict(os.environ)
for _name in ("DAGSTER_HOME", *(variable.name for variable in VARIABLES)):
    os.environ.pop(_name, None)
