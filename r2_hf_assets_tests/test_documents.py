"""What is written for people agrees with the code: the settings table, .env.example, the locks."""

import re
from pathlib import Path

from r2_hf_assets.assets.resources import SettingsResource
from r2_hf_assets.settings import VARIABLES

ROOT = Path(__file__).parents[1]


def test_the_readme_lists_every_variable_with_its_default_and_meaning() -> None:
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (.*?) \| (.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    expected = [
        (v.name, "required" if v.default is None else f"`{v.default}`" if v.default else "", v.help) for v in VARIABLES
    ]
    assert rows == expected


def test_the_example_lists_every_variable_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    for variable in VARIABLES:
        wanted = f"{variable.name}=" if variable.default is None else f"#{variable.name}={variable.default}"
        assert wanted in lines


def test_the_resource_has_every_variable() -> None:
    assert set(SettingsResource.model_fields) == {v.name.lower() for v in VARIABLES}


def test_the_locks_name_no_index_and_every_file_has_hashes() -> None:
    for lock in ("requirements.lock", "r2_hf_assets_tests/hub/hub036.lock", "deploy/celery/requirements.lock"):
        text = (ROOT / lock).read_text()
        assert "://" not in text
        assert "index-url" not in text
        packages = re.findall(r"^[a-zA-Z0-9][^\s]*==[^\s]+.*(?:\n    --hash=.*)*", text, re.MULTILINE)
        assert packages
        assert all("--hash=sha256:" in package for package in packages)
