"""`dg` finds the project by pyproject.toml alone, and its definitions are those of definitions.py."""

import json

from r2_hf_assets.definitions import defs
from r2_hf_assets_tests.support.world import World


def test_dg_lists_and_checks_the_definitions(world: World) -> None:
    listed = world.dg("list", "defs", "--json")
    assert listed.returncode == 0, listed.stderr
    found = json.loads(listed.stdout)
    repository = defs.get_repository_def()
    names = {
        kind: {one.get("name") or one["asset_key"] for one in found[kind]} for kind in ("assets", "jobs", "sensors")
    }
    assert names["assets"] == {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}
    assert names["sensors"] == {sensor.name for sensor in repository.sensor_defs}
    assert {"scan_job", "build_job", "check_job"} <= names["jobs"]
    checked = world.dg("check", "defs")
    assert checked.returncode == 0, checked.stderr
