"""A killed scan may leave half a manifest under obstore's temporary name; the next scan removes it once it is old."""

import os
import time
from pathlib import Path

from obstore.store import LocalStore

from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.plan.store import PlanStore


def test_a_scan_removes_what_a_killed_one_left_and_leaves_what_may_be_anothers(tmp_path: Path) -> None:
    plan = PlanStore(LocalStore(tmp_path), "podcasts", "processed/")
    plan.check_identity()
    assert plan.create(Chunk("en", 0, "processed/", ("en/a",)))
    torn, fresh = (tmp_path / "plan/en" / name for name in ("chunk_0001.json#1", "chunk_0001.json#2"))
    for path in (torn, fresh):
        path.write_bytes(b'{"version": 1,')
    os.utime(torn, (time.time() - 120,) * 2)
    plan.write_index()
    assert [path.name for path in sorted((tmp_path / "plan/en").iterdir())] == ["chunk_0000.json", "chunk_0001.json#2"]
