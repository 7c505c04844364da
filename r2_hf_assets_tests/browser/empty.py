"""Every page with an empty plan and an empty grid, then the sensors, turned on by clicking.

Run by `make browser`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from r2_hf_assets.definitions import defs
from r2_hf_assets_tests.browser.conftest import shared_world
from r2_hf_assets_tests.browser.ui import Ui, open_ui
from r2_hf_assets_tests.integration.services import LOCATION
from r2_hf_sandbox.processes import wait_until
from r2_hf_sandbox.sandbox import Sandbox

REPOSITORY = defs.get_repository_def()
ASSETS = sorted(key.to_user_string() for key in REPOSITORY.asset_graph.get_all_asset_keys())
SENSORS = sorted(sensor.name for sensor in REPOSITORY.sensor_defs)
SCHEDULES = sorted(schedule.name for schedule in REPOSITORY.schedule_defs)
JOBS = sorted(name for name in REPOSITORY.job_names if not name.startswith("__"))
VIEWS = ("overview", "partitions", "events", "checks", "lineage", "automation")
RESOURCES = sorted(REPOSITORY.get_top_level_resources())

# Pages, each with a name that it shows.
PAGES = [
    *((f"/{page}", "") for page in ("asset-groups", "assets", "overview", "overview/backfills", "runs", "automation")),
    *((f"/locations/{LOCATION}/{part}", LOCATION) for part in ("", "assets", "jobs", "resources")),
    *(("/jobs", JOBS[0]), ("/deployment/locations", LOCATION), ("/deployment/daemons", "Sensor")),
    *(("/deployment/concurrency", ""), ("/deployment/concurrency/hub", "hub")),
    *((f"/assets/{asset}?view={view}", asset) for asset in ASSETS for view in VIEWS),
    *((f"/locations/{LOCATION}/jobs/{job}{tab}", job) for job in JOBS for tab in ("", "/playground", "/runs")),
    *((f"/locations/{LOCATION}/sensors/{sensor}", sensor) for sensor in SENSORS),
    *((f"/locations/{LOCATION}/schedules/{schedule}", schedule) for schedule in SCHEDULES),
    *((f"/locations/{LOCATION}/resources/{resource}", resource) for resource in RESOURCES),
]
WRONG = ("Sorry, an error occurred", "Page not found", "Unexpected GraphQL error", "PythonError", "not found")


@pytest.fixture(scope="module")
def ui(sandbox: Sandbox, chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    with (
        shared_world(sandbox, tmp_path_factory.mktemp("empty"), PLAN_MAX_WAIT_HOURS="0") as world,
        open_ui(world, chromium) as opened,
    ):
        yield opened


@pytest.mark.parametrize(("path", "name"), PAGES)
def test_every_page_opens_with_an_empty_plan(ui: Ui, path: str, name: str) -> None:
    ui.errors.clear()
    ui.open(path)
    expect(ui.page.get_by_role("navigation")).to_be_visible()
    expect(ui.page.get_by_text(name).first).to_be_attached()
    for wrong in WRONG:
        expect(ui.page.get_by_text(wrong)).to_have_count(0)
    ui.check()


def test_nothing_can_be_chosen_from_an_empty_grid(ui: Ui) -> None:
    ui.errors.clear()
    ui.open("/assets/parquet_shards")
    ui.button("Materialize").first.click()
    ui.button("Confirm").click()  # the warning that work_plan was never materialized
    dialog = ui.page.get_by_role("dialog").filter(has_text="Launch runs to materialize parquet_shards")
    expect(dialog.get_by_text("0 partitions")).to_be_visible()
    expect(dialog.get_by_role("button", name="Launch backfill")).to_be_disabled()
    ui.check()


def test_a_graphql_error_of_a_page_is_reported(ui: Ui) -> None:
    def refuse(route: Route) -> None:
        route.fulfill(json={"errors": [{"message": "made up by a test"}], "data": None})

    ui.errors.clear()
    ui.page.route("**/graphql*", refuse)
    try:
        ui.page.goto("/assets/parquet_shards")
        with pytest.raises(AssertionError, match="made up by a test"):
            assert wait_until(lambda: bool(ui.page.title()) and bool(ui.errors), 20)
            ui.check()
    finally:
        ui.page.unroute("**/graphql*")
        ui.errors.clear()


def test_episodes_reach_the_hub_when_both_sensors_are_turned_on(ui: Ui) -> None:
    ui.errors.clear()
    ui.world.upload(episodes={"en": 3, "de": 1}, segments=(2, 3), seconds=(0.3, 0.5), expect=False)
    ui.switch_on("new_episodes")
    ui.switch_on("planned_chunks")
    # The sensors are evaluated every minute and every half minute.
    expected = ["data/de/chunk-00000.parquet", "data/en/chunk-00000.parquet"]
    assert wait_until(lambda: _files(ui) == expected, 400, 1), ui.host.log()
    for asset in ("parquet_shards", "hub_commit"):
        ui.open_partition(asset, "en", "chunk_0000")
        expect(ui.text("Materialized")).to_be_visible()
    ui.check()


def _files(ui: Ui) -> list[str]:
    api = ui.world.api()
    return ui.world.files() if api.repo_exists(ui.world.repo_id, repo_type="dataset") else []
