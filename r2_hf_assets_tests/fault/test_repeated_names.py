"""A listing that repeats a folder on the next page: each episode is planned once."""

from pathlib import Path

import pytest

from r2_hf_assets.bucket import listing
from r2_hf_assets.bucket.client import open_store
from r2_hf_assets.plan.scan import ScanRules, scan
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets_tests.bucket.folders import BELOW, FolderListing
from r2_hf_assets_tests.bucket.test_list_pages import page
from r2_hf_assets_tests.support.objects_server import ObjectsServer, Response

NAMES = [f"ep{number:03d}" for number in range(40)]


@pytest.mark.parametrize("pages_before_split", [1, 100], ids=["in ranges", "in a row"])
def test_each_episode_is_planned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages_before_split: int) -> None:
    monkeypatch.setattr(listing, "_PAGES_BEFORE_SPLIT", pages_before_split)
    bucket = FolderListing(NAMES, 7, by_name=False, repeats=True)

    def answer(key: str, count: int) -> Response:
        if "prefix=processed%2F&" in key:  # the language folders
            return page(BELOW, BELOW)
        return bucket.respond(key, count)

    with ObjectsServer({}, answer) as server:
        plan = PlanStore(open_store(str(tmp_path), None), "speech", "processed/")
        report = scan(server.bucket(), plan, ScanRules(frozenset({"en"}), episodes_per_chunk=16))
    planned = [episode for chunk in report.new_chunks for episode in chunk.episodes]
    assert planned == [f"en/{name}" for name in NAMES]
    assert report.seen == {"en": 40} and report.folders == {"en": 40}
