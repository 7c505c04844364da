"""What is written for people agrees with the code: the settings table, .env.example, the locks, file names, links."""

import re
from pathlib import Path

import pytest

from r2_hf_assets.settings import VARIABLES

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PACKAGES = ("r2_hf_assets", "r2_hf_sandbox", "r2_hf_assets_tests", "bench", "deploy", "docs", "scripts")
FILES = {file.relative_to(ROOT).as_posix() for name in PACKAGES for file in (ROOT / name).rglob("*")}
FILES |= {file.name for file in ROOT.iterdir()}


def named(text: str) -> set[str]:
    """Files of code, documents and settings that a text names, with as much of their paths as it says."""
    return set(re.findall(r"(?<![\w./<*-])((?:[\w-]+/)*[\w-]+\.(?:py|md|yaml))\b", text))


def test_the_readme_lists_every_variable_with_its_default_and_meaning() -> None:
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (.*?) \| (.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    expected = [
        (v.name, "required" if v.default is None else f"`{v.default}`" if v.default else "", v.help) for v in VARIABLES
    ]
    assert sorted(rows) == sorted(expected)


def test_the_example_lists_every_variable_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    for variable in VARIABLES:
        wanted = f"{variable.name}=" if variable.default is None else f"#{variable.name}={variable.default}"
        assert wanted in lines


def test_the_locks_name_no_index_and_every_file_has_hashes() -> None:
    for lock in ("requirements.lock", "r2_hf_assets_tests/contract/hub036.lock", "deploy/celery/requirements.lock"):
        text = (ROOT / lock).read_text()
        assert "://" not in text
        assert "index-url" not in text
        packages = re.findall(r"^[a-zA-Z0-9][^\s]*==[^\s]+.*(?:\n    --hash=.*)*", text, re.MULTILINE)
        assert packages
        assert all("--hash=sha256:" in package for package in packages)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_files_that_a_document_names_exist(document: Path) -> None:
    """Modules below r2_hf_assets/, tests below r2_hf_assets_tests/, all else from the root; a bare name anywhere."""
    below = ("", "r2_hf_assets/", "r2_hf_assets_tests/", "docs/")
    bare = {name.rpartition("/")[2] for name in FILES}
    for name in named(document.read_text()):
        assert name in bare if "/" not in name else any(folder + name in FILES for folder in below), name


def test_files_that_the_code_names_exist() -> None:
    tails = {name[start:] for name in FILES for start in (0, *(m.end() for m in re.finditer("/", name)))}
    for module in (ROOT / "r2_hf_assets").rglob("*.py"):
        assert {name for name in named(module.read_text()) if name.endswith(".py")} <= tails, module


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        path, _, title = target.partition("#")
        if path.startswith("https://"):
            continue
        found = document.parent / path if path else document
        assert found.exists(), target
        if title:
            titles = re.findall(r"^#+ (.*)", found.read_text(), re.MULTILINE)
            assert title in {re.sub(r"[^\w -]", "", words).lower().replace(" ", "-") for words in titles}, target
