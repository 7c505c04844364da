"""A world's UI in a real browser: the distribution's chromium, on the real webserver, code server and daemon.

`errors` collects a page's exceptions, console errors, failed requests, GraphQL responses with an error, and requests to
other machines.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, Request, Response, expect, sync_playwright

from r2_hf_assets_tests.integration.services import Services, services
from r2_hf_assets_tests.support.world import ROOT, World
from r2_hf_sandbox.processes import LOOPBACK

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
# A page takes a second or two, and more while other tests run.
PATIENCE_MS = 60_000
RUNS_PATIENCE_MS = 150_000

# The UI uses window.fetch, and often logs nothing when a response has an error.
_LOG_GRAPHQL_ERRORS = """
const fetched = window.fetch;
window.fetch = async (...request) => {
  const response = await fetched(...request);
  if (response.url.includes('/graphql')) response.clone().text().then((text) => {
    const match = text.match(/"errors":\\s*\\[\\s*\\{.{0,300}|"__typename":\\s*"PythonError".{0,300}/s);
    if (match) console.error('GraphQL: ' + match[0]);
  }, () => {});
  return response;
};
"""


@dataclass
class Ui:
    """One tab of the UI, and its errors."""

    world: World
    host: Services
    page: Page
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.add_init_script(_LOG_GRAPHQL_ERRORS)
        self.page.on("pageerror", lambda error: self.errors.append(f"exception: {error}"))
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        self.page.on("request", self._check_request)
        self.page.on("response", self._check_response)

    def _check_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https") and parts.hostname != LOOPBACK:
            self.errors.append(f"request to {request.url}")

    def _check_response(self, response: Response) -> None:
        if response.status >= 400:
            self.errors.append(f"{response.status} {response.url}")

    # pages

    def open(self, path: str) -> None:
        """Open a page and wait until it has loaded."""
        self.page.goto(path)
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is loading."""
        self.page.wait_for_load_state("networkidle")
        expect(self.page.get_by_role("progressbar")).to_have_count(0)
        expect(self.page.get_by_text("Loading", exact=False)).to_have_count(0)

    def button(self, name: str | re.Pattern[str]) -> Locator:
        return self.page.get_by_role("button", name=name)

    def text(self, text: str) -> Locator:
        """Return the element with exactly this text, the first one: the UI adds a second to measure it."""
        return self.page.get_by_text(text, exact=True).first

    def check(self) -> None:
        """Check that no page and no toast had an error so far."""
        toasts = self.page.get_by_role("region", name="Notifications").get_by_role("listitem").all_inner_texts()
        assert self.errors == [], f"on {self.page.url}: {self.errors}"
        assert [toast for toast in toasts if re.search("error|fail|could not", toast, re.IGNORECASE)] == []

    def picture(self, name: str) -> None:
        """With SCREENSHOTS=1, save a screenshot of the page in docs/."""
        if os.environ.get("SCREENSHOTS") == "1":
            self.settle()
            self.page.screenshot(path=ROOT / "docs" / f"{name}.png")

    def picture_of_graph(self, name: str) -> None:
        """Save the asset graph, wide enough for the UI to show the text in its boxes."""
        before = self.page.viewport_size
        self.page.set_viewport_size({"width": 1700, "height": 480})
        self.open("/asset-groups")
        self.button("Hide navigation").click()
        self.page.reload()
        self.picture(name)
        if before:
            self.page.set_viewport_size(before)

    # what a user does

    def launch_backfill(self, languages: list[str], chunks: list[str], picture: str = "") -> None:
        """Launch a backfill of both assets from the graph, and open its page."""
        self.open("/asset-groups")
        self.button("parquet_shards").click()
        self.button("hub_commit").click(modifiers=["Shift"])
        self.button("Materialize selected").click()
        dialog = self.page.get_by_role("dialog").filter(has_text="Launch runs to materialize 2 assets")
        for keys in (languages, chunks):
            dialog.get_by_text("Select a partition or create one").first.click()
            for key in keys:
                self.page.get_by_placeholder("Filter partitions").fill(key)
                self.page.get_by_role("menuitem", name=f"{key} {key}", exact=True).click()
            dialog.get_by_text("Launch runs to materialize").click()  # closes the list
            expect(self.page.get_by_placeholder("Filter partitions")).to_have_count(0)
        expect(dialog.get_by_text(f"{len(languages) * len(chunks)} partitions")).to_be_visible()
        if picture:
            self.picture(picture)
        dialog.get_by_role("button", name="Launch backfill").click()
        self.page.get_by_role("region", name="Notifications").get_by_text("View").click()

    def expect_backfill_done(self, partitions: int) -> None:
        """Check on the backfill's page that it succeeds and both assets are green for every partition."""
        for asset in ("parquet_shards", "hub_commit"):
            # The row alone, not a box around both: its name, then targeted, in progress, succeeded, failed.
            row = re.compile(rf"^\s*({asset}\s*)+100% completed\s*{partitions}\s*0\s*{partitions}\s*0\s*$")
            expect(self.page.locator("div").filter(has_text=row).first).to_be_visible(timeout=RUNS_PATIENCE_MS)
        # Beside the column of that name, the status.
        expect(self.page.get_by_text("Succeeded", exact=True)).to_have_count(2, timeout=RUNS_PATIENCE_MS)

    def open_partition(self, asset: str, language: str, chunk: str) -> None:
        """Open an asset's partition by clicking through its partitions page."""
        self.open(f"/assets/{asset}?view=partitions")
        for dimension, key in (("language", language), ("plan_chunk", chunk)):
            self.page.get_by_placeholder(f"Filter by {dimension}").fill(key)
            self.text(key).click()
        expect(self.text(f"{language}|{chunk}")).to_be_visible()
        self.settle()

    def metadata(self, name: str) -> Locator:
        """Return the cell that shows a value of a materialization."""
        rows = self.page.get_by_role("row").filter(has=self.page.get_by_role("cell", name=name, exact=True))
        return rows.first.get_by_role("cell").nth(1)

    def expect_picture(self, title: str) -> None:
        """Open the entry `pictures` of a materialization and check that the browser draws it."""
        self.metadata("pictures").get_by_text("Show Markdown").click()
        drawn = self.page.get_by_role("dialog").get_by_role("img", name=title)
        expect(drawn).to_be_visible()
        assert drawn.evaluate("image => image.complete && image.naturalWidth > 0"), title

    def switch_on(self, sensor: str) -> None:
        """Turn a sensor on, from the list of automations."""
        self.open("/automation")
        self.page.get_by_role("link", name=sensor).click()
        switch = self.page.get_by_role("row", name="Running").get_by_role("checkbox")
        expect(switch).not_to_be_checked()
        switch.locator("xpath=ancestor::label").click()  # the box itself is not shown
        expect(switch).to_be_checked()


@contextmanager
def open_ui(world: World, chromium: Path) -> Iterator[Ui]:
    """The world's services and a browser on them, until the end. Needs the world's variables (`in_process`)."""
    profile = world.folder / "chromium"
    # Chromium stores some files in HOME, outside of its profile.
    env: dict[str, str | float | bool] = {**world.command_env(), "HOME": str(profile)}
    with services(world, daemon="r2_hf_assets_tests.integration.quick_daemon") as host:
        url = host.start_ui()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch_persistent_context(
                profile,
                executable_path=chromium,
                args=FLAGS,
                env=env,
                base_url=url,
                viewport={"width": 1440, "height": 900},
                timezone_id="UTC",
                locale="en-GB",
            )
            try:
                browser.set_default_timeout(PATIENCE_MS)
                expect.set_options(timeout=PATIENCE_MS)
                yield Ui(world, host, browser.pages[0])
            finally:
                browser.close()
                shutil.rmtree(profile, ignore_errors=True)
