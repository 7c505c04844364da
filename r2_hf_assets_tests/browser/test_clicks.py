"""The short form: the graph, a backfill launched by clicking, both assets green. `make browser` runs the rest."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from r2_hf_assets_tests.browser.ui import open_ui
from r2_hf_assets_tests.support.world import World


@pytest.mark.slow
def test_a_backfill_by_clicking_turns_both_assets_green(in_process: World, chromium: Path) -> None:
    world = in_process
    world.upload(episodes={"en": 2, "de": 1}, segments=(2, 3), seconds=(0.3, 0.5), expect=False)
    assert world.scan() is None
    with open_ui(world, chromium) as ui:
        ui.open("/asset-groups")
        for asset, icon in {"work_plan": "run_success", "parquet_shards": "missing", "hub_commit": "missing"}.items():
            expect(ui.button(f"{icon} {asset}")).to_be_visible()
        ui.launch_backfill(["en", "de"], ["chunk_0000"])
        ui.expect_backfill_done(2)
        ui.open("/assets/hub_commit?view=partitions")
        expect(ui.text("Materialized (2)")).to_be_visible()
        expect(ui.text("Missing (0)")).to_be_visible()  # the grid has the languages of the plan
        ui.open("/asset-groups")
        for asset in ("parquet_shards", "hub_commit"):
            expect(ui.button(f"run_success {asset}")).to_be_visible()
        ui.check()
    assert world.files() == ["data/de/chunk-00000.parquet", "data/en/chunk-00000.parquet"]
    assert world.due() == []
