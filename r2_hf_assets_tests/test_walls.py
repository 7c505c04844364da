"""Import rules: the data plane runs without Dagster, importing it needs no setting, and no import is circular."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import r2_hf_assets

PACKAGE = Path(r2_hf_assets.__file__).parent
PACKAGES = ("bucket", "plan", "shards", "hub", "amend", "reconcile", "preflight")
WITH_DAGSTER = "r2_hf_assets.preflight.dagster_home"
DAGSTER = ("assets", "runs", "sensors", "checks", "jobs", "partitions", "resources", "schedules", "definitions")
SINGLE = ("settings", "parsers", "languages", "retry", "errors", "disk", "memory", "verdict")


def modules() -> list[str]:
    names = [f"r2_hf_assets.{name}" for name in SINGLE]
    for package in PACKAGES:
        paths = sorted((PACKAGE / package).rglob("*.py"))
        names += [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names if name != WITH_DAGSTER]


def run(code: str) -> str:
    """Return the output of a new interpreter with an empty environment."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=PACKAGE.parent,
        env={"PYTHONPATH": str(PACKAGE.parent)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_data_plane_loads_no_dagster_decoder_or_database():
    imports = "\n".join(f"import {name}" for name in modules())
    loaded = run(f"{imports}\nimport sys\nprint(*sys.modules)").split()
    assert "r2_hf_assets.shards.quality" in loaded
    assert [name for name in loaded if name.startswith(("dagster", "soundfile", "duckdb"))] == []


def test_the_list_of_modules_has_the_tree():
    names = modules()
    assert {"r2_hf_assets.bucket.fetch", "r2_hf_assets.plan.scan", "r2_hf_assets.shards.build"} <= set(names)
    assert {"r2_hf_assets.hub.commit", "r2_hf_assets.hub", "r2_hf_assets.hub.card.merge"} <= set(names)


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("bucket", ("plan", "shards", "hub", "amend", "reconcile", *DAGSTER)),
        ("plan", ("shards", "hub", "amend", "reconcile", *DAGSTER)),
        ("shards", ("hub", "amend", "reconcile", *DAGSTER)),
        ("hub", ("amend", "reconcile", *DAGSTER)),
        ("amend", ("reconcile", "cli", *DAGSTER)),
        ("reconcile", ("cli", *DAGSTER)),
        ("preflight", ("cli", *DAGSTER)),
    ],
)
def test_imports_go_one_way(package, forbidden):
    for path in (PACKAGE / package).rglob("*.py"):
        text = path.read_text()
        assert not [name for name in forbidden if f"from r2_hf_assets.{name}" in text], path.name


def test_one_module_of_the_hub_imports_the_bucket():
    """A build reads from the bucket and writes to the Hub."""
    importers = [
        path.name for path in (PACKAGE / "hub").rglob("*.py") if "from r2_hf_assets.bucket" in path.read_text()
    ]
    assert importers == ["build.py"]


def test_the_product_imports_neither_boto3_nor_the_sandbox():
    pattern = re.compile(r"^\s*(from|import) (boto|r2_hf_sandbox)", re.MULTILINE)
    assert not [path.name for path in PACKAGE.rglob("*.py") if pattern.search(path.read_text())]


def test_the_sandbox_imports_no_product():
    imports = re.compile(r"^\s*(from|import) (r2_hf_assets|dagster)", re.MULTILINE)
    paths = list((PACKAGE.parent / "r2_hf_sandbox").rglob("*.py"))
    assert paths and not [path.name for path in paths if imports.search(path.read_text())]


def test_importing_the_hub_package_does_not_import_huggingface_hub():
    loaded = run("import sys, r2_hf_assets.hub.commit\nprint('huggingface_hub' in sys.modules)")
    assert loaded == "False"


def test_private_dagster_is_used_in_one_module():
    private = re.compile(r"dagster\._|dagster_shared")
    importers = [path.name for path in PACKAGE.rglob("*.py") if private.search(path.read_text())]
    assert importers == ["dagster_internals.py"]


def test_no_import_is_circular():
    """Imports inside of functions count."""
    paths = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    graph: dict[str, set[str]] = {name.removesuffix(".__init__"): set() for name in paths}
    for name, path in paths.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported = {f"{node.module}.{one.name}" for one in node.names}
                graph[name.removesuffix(".__init__")] |= {one if one in graph else node.module for one in imported}
    tuple(TopologicalSorter({name: imports & graph.keys() for name, imports in graph.items()}).static_order())
