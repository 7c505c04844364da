"""Names in the bucket never become paths: files are written in the state folder alone, named by the partition."""

import os
import re
from pathlib import Path

import obstore
import pytest

from r2_hf_assets.bucket.client import open_store
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.plan.scan import ScanRules, scan
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.settings import PlanSettings
from r2_hf_assets.shards.build import build_chunk
from r2_hf_assets.shards.builds import open_builds
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PLAN_ID, PREFIX, MemoryUpload, limits, put_episode
from r2_hf_assets_tests.support.store_gets import MemoryBucket

HOSTILE = {
    "climbs": "../../../escaped",
    "absolute": "/tmp/escaped",
    "NUL": "a\0b",
    "backslashes": "..\\..\\escaped",
    "a drive": "C:\\escaped",
    "the home": "~/escaped",
    "a variable": "$HOME",
    "a file of the dataset": "chunk-00007.parquet",
    "a hidden folder": ".git",
    "newline": "a\nb",
    "an escape of a terminal": "\x1b[31mred",
    "longer than a name may be": "x" * 400,
}
OURS = re.compile(
    r"state/plan/(identity|id|index|folders_\d{4}|(en/chunk_\d{4}))\.json"
    r"|state/builds/en/chunk-\d{5}\.json"
)


def unexpected(folder: Path) -> list[str]:
    """List files below `folder` whose names are not the product's."""
    paths = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    assert paths, "no file was written"
    return [path for path in paths if not OURS.fullmatch(path)]


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_episode_name_creates_no_file_elsewhere(name: str, tmp_path: Path) -> None:
    """The plan may be written by hand, so names that a scan rejects are tried too."""
    inside = tmp_path / "deep" / "er" / "home"
    inside.mkdir(parents=True)
    bucket = MemoryBucket()
    put_episode(bucket, "en/good", 2)
    chunk = ChunkManifest("en", 7, PREFIX, ("en/good", f"en/{name}"))
    plan = PlanStore(open_store(str(inside / "state"), None), "b", PREFIX)
    assert plan.create(chunk) and plan.read("en", 7) == chunk
    try:
        built = build_chunk(chunk, bucket, MemoryUpload(), limits(inside), plan_id=PLAN_ID, workers=2, retry=NO_WAIT)
    except Exception as error:
        assert "\n" not in str(error).splitlines()[0]
    else:
        open_builds(PlanSettings(str(inside / "state")), None).write(built.record)
    assert unexpected(inside) == []
    assert sorted(os.listdir(tmp_path)) == ["deep"] and os.listdir(tmp_path / "deep" / "er") == ["home"]


@pytest.mark.parametrize("name", ["..\\..\\escaped", "$HOME", ".git", "chunk-00000.parquet", "x" * 200])
def test_a_scan_names_its_files_by_the_partition(name: str, tmp_path: Path) -> None:
    store = MemoryBucket()
    put_episode(store, f"en/{name}", 2)
    put_episode(store, f"{name}/episode", 1)
    plan = PlanStore(open_store(str(tmp_path / "own" / "state"), None), "b", PREFIX)
    report = scan(store, plan, ScanRules(frozenset({"en"}), 10))
    assert [chunk.episodes for chunk in report.new_chunks] == [(f"en/{name}",)]
    assert unexpected(tmp_path / "own") == []
    assert [o["path"] for batch in obstore.list(plan.store) for o in batch if name in o["path"]] == []
