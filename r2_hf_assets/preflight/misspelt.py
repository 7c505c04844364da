"""Names of variables that resemble a setting's and are none, such as EPISODE_PER_CHUNK: their values have no effect."""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from dotenv import dotenv_values

from r2_hf_assets.settings import VARIABLES

_SETTINGS = [*(variable.name for variable in VARIABLES), "DAGSTER_HOME"]
# difflib's ratio. It is 0.79 for R2_SECRET_KEY; in the shell, where other programs have theirs, 0.88 for GH_TOKEN.
_SIMILAR, _SIMILAR_IN_SHELL = 0.78, 0.9
# Names of others that are as similar: of S3 clients, and of gettext.
_OTHERS, _OTHERS_IN_SHELL = ("AWS_",), ("LANGUAGE",)


def find_misspelt(environ: Mapping[str, str] = os.environ, env_file: Path = Path(".env")) -> list[tuple[str, str]]:
    """Return each such name in `env_file` or the environment, into which that is loaded, and what it resembles."""
    in_file = dotenv_values(env_file).keys() if env_file.is_file() else set[str]()
    found = []
    for name in sorted({*environ, *in_file} - {*_SETTINGS}):
        in_shell = name not in in_file
        if name.startswith(_OTHERS) or (in_shell and name in _OTHERS_IN_SHELL):
            continue
        if close := get_close_matches(name.upper(), _SETTINGS, 1, _SIMILAR_IN_SHELL if in_shell else _SIMILAR):
            found.append((name, close[0]))
    return found
