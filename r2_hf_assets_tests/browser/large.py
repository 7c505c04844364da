"""The pages of a grid of 30 languages x 300 chunks, nearly all done, and a backfill over three partitions.

Run by `make browser`, which prints the time of each page.
"""

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets_tests.browser.conftest import shared_world
from r2_hf_assets_tests.browser.history import fill
from r2_hf_assets_tests.browser.ui import Ui, open_ui
from r2_hf_sandbox.sandbox import Sandbox

SPOKEN = ["de", "en", "fr"]
GRID = sorted({*SPOKEN, *LANGUAGES[:27]})
CHUNKS, DONE = 300, 297
LAST = f"chunk_{CHUNKS - 1:04d}"


@pytest.fixture(scope="module")
def ui(sandbox: Sandbox, chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    folder = tmp_path_factory.mktemp("large")
    with shared_world(sandbox, folder, LANGUAGES=",".join(GRID)) as world:
        uploaded = world.upload(episodes={language: 3 for language in SPOKEN}, segments=(15, 25), seconds=(1.0, 9.0))
        episodes = defaultdict(list)
        for folder_name, episode in sorted({tuple(row.key.split("/")[1:3]) for row in uploaded.rows}):
            episodes[folder_name].append(f"{folder_name}/{episode}")
        with timed("a plan and a history of 9,000 partitions made"):
            fill(GRID, CHUNKS, DONE, episodes)
        with open_ui(world, chromium) as opened:
            yield opened


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print the seconds that the block took."""
    started = time.monotonic()
    yield
    print(f"{time.monotonic() - started:6.1f} s  {what}", flush=True)


def test_the_pages_of_a_large_grid_count_its_partitions(ui: Ui) -> None:
    with timed("the asset graph"):
        ui.open("/asset-groups")
        for asset in ("work_plan", "parquet_shards", "hub_commit"):
            expect(ui.button(asset)).to_be_visible()
    with timed("the catalog"):
        ui.open("/assets")
        expect(ui.page.get_by_text("9,000 partitions")).to_have_count(2)
    for asset in ("parquet_shards", "hub_commit"):
        with timed(f"the partitions page of {asset}"):
            ui.open(f"/assets/{asset}?view=partitions")
            expect(ui.text(f"Materialized ({len(GRID) * DONE})")).to_be_visible()
            expect(ui.text(f"Missing ({len(GRID) * (CHUNKS - DONE)})")).to_be_visible()
    with timed("one partition in it, by two clicks"):
        ui.text("en").click()
        ui.page.get_by_placeholder("Filter by plan_chunk").fill("chunk_0123")
        ui.text("chunk_0123").click()
        expect(ui.text("en|chunk_0123")).to_be_visible()
        expect(ui.metadata("recorded_by")).to_be_visible()
    with timed("the overview of hub_commit"):
        ui.open("/assets/hub_commit")
    ui.check()


def test_a_backfill_over_three_partitions_turns_both_assets_green(ui: Ui) -> None:
    with timed("a backfill launched by clicking"):
        ui.launch_backfill(SPOKEN, [LAST], picture="ui-materialize")
    with timed("both assets green for three partitions"):
        ui.expect_backfill_done(len(SPOKEN))
    ui.picture("ui-backfill")
    for asset in ("parquet_shards", "hub_commit"):
        ui.open(f"/assets/{asset}?view=partitions")
        expect(ui.text(f"Materialized ({len(GRID) * DONE + len(SPOKEN)})")).to_be_visible()
        expect(ui.text("Failed (0)")).to_be_visible()
    assert ui.world.files() == [f"data/{language}/chunk-{CHUNKS - 1:05d}.parquet" for language in SPOKEN]
    ui.check()


def test_a_built_partition_shows_its_metadata_and_picture(ui: Ui) -> None:
    ui.open_partition("hub_commit", "en", LAST)
    expect(ui.metadata("committed")).to_have_text("true")
    commit = re.compile(f"^{ui.world.sandbox.hub.endpoint}/datasets/{ui.world.repo_id}/commit/[0-9a-f]{{40}}$")
    expect(ui.metadata("commit").get_by_role("link").last).to_have_attribute("href", commit)
    ui.picture("ui-partitions")
    ui.open_partition("parquet_shards", "en", LAST)
    expect(ui.metadata("segments_rejected")).to_have_text("0")
    expect(ui.metadata("chunk_digest")).to_have_text(_digest(ui))
    ui.expect_picture("durations and DNSMOS")
    ui.picture("ui-pictures")
    ui.button("Close").click()
    ui.picture_of_graph("asset-graph")
    ui.check()


def _digest(ui: Ui) -> str:
    plan = Path(ui.world.env["DAGSTER_HOME"]) / "r2_hf_assets" / "state" / "plan" / "en" / f"{LAST}.json"
    return json.loads(plan.read_text())["digest"]
