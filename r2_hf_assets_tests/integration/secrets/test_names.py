"""Names in the bucket never become paths: whatever an episode is called, files are made only where they belong, under
names made from the partition."""

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
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PREFIX, MemoryUpload, limits, put_episode
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
    r"|state/builds/en/chunk-\d{5}(\.json|\.rejects\.parquet)"
)


def strange(folder: Path) -> list[str]:
    """Files below `folder` that are not named by us."""
    found = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    assert found, "nothing was made at all"
    return [path for path in found if not OURS.fullmatch(path)]


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_name_stays_a_name(name: str, tmp_path: Path) -> None:
    """The plan may have been written by another version or by hand, so every name is tried, plannable or not."""
    inside = tmp_path / "deep" / "er" / "home"
    inside.mkdir(parents=True)
    bucket = MemoryBucket()
    put_episode(bucket, "en/good", 2)
    chunk = ChunkManifest("en", 7, PREFIX, ("en/good", f"en/{name}"))
    plan = PlanStore(open_store(str(inside / "state"), None), "b", PREFIX)
    assert plan.create(chunk) and plan.read("en", 7) == chunk
    try:
        built = build_chunk(chunk, bucket, MemoryUpload(), limits(inside), workers=2, retry=NO_WAIT)
    except Exception as error:
        assert "\n" not in str(error).splitlines()[0]
    else:
        open_builds(PlanSettings(str(inside / "state")), None).write(built.record, built.rejects)
    assert strange(inside) == []
    assert sorted(os.listdir(tmp_path)) == ["deep"] and os.listdir(tmp_path / "deep" / "er") == ["home"]


@pytest.mark.parametrize("name", ["..\\..\\escaped", "$HOME", ".git", "chunk-00000.parquet", "x" * 200])
def test_a_scan_writes_names_of_its_own(name: str, tmp_path: Path) -> None:
    store = MemoryBucket()
    put_episode(store, f"en/{name}", 2)
    put_episode(store, f"{name}/episode", 1)
    plan = PlanStore(open_store(str(tmp_path / "own" / "state"), None), "b", PREFIX)
    report = scan(store, plan, ScanRules(frozenset({"en"}), 10))
    assert [chunk.episodes for chunk in report.new_chunks] == [(f"en/{name}",)]
    assert strange(tmp_path / "own") == []
    assert [o["path"] for batch in obstore.list(plan.store) for o in batch if name in o["path"]] == []
