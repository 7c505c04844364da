"""After a killed scan or a power loss the plan has complete manifests only."""

import os
import time
from pathlib import Path

import pytest
from obstore.store import LocalStore

from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.plan.store import PlanStore


def test_a_scan_removes_old_temporary_files_and_keeps_fresh_ones(tmp_path: Path) -> None:
    plan = PlanStore(LocalStore(tmp_path), "podcasts", "processed/")
    plan.check_identity()
    assert plan.create(ChunkManifest("en", 0, "processed/", ("en/a",)))
    torn, fresh = (tmp_path / "plan/en" / name for name in ("chunk_0001.json#1", "chunk_0001.json#2"))
    record = tmp_path / "builds/en/chunk-00000.json#1"
    record.parent.mkdir(parents=True)
    for path in (torn, fresh, record):
        path.write_bytes(b'{"version": 1,')
    for path in (torn, record):
        os.utime(path, (time.time() - 120,) * 2)
    plan.write_index()
    assert not record.exists()
    assert [path.name for path in sorted((tmp_path / "plan/en").iterdir())] == ["chunk_0000.json", "chunk_0001.json#2"]


def test_manifests_are_synced_before_the_index_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = PlanStore(LocalStore(tmp_path), "podcasts", "processed/")
    plan.check_identity()
    index = tmp_path / "plan/index.json"
    before = index.stat().st_mtime_ns if index.exists() else 0
    synced: list[Path] = []

    def fsync(descriptor: int) -> None:
        assert (index.stat().st_mtime_ns if index.exists() else 0) == before
        synced.append(Path(f"/proc/self/fd/{descriptor}").resolve())

    monkeypatch.setattr(os, "fsync", fsync)
    for number in range(2):
        assert plan.create(ChunkManifest("en", number, "processed/", (f"en/{number}",)))
        before = index.stat().st_mtime_ns if index.exists() else 0
        plan.write_index()
        assert synced == [tmp_path / f"plan/en/chunk_000{number}.json", tmp_path / "plan/en"]
        synced.clear()
    plan.write_index()
    assert synced == []
