"""ShardStore, local and remote alike: a chunk is built when its record is there, and what was left over goes."""

import errno
import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore

from r2_hf_assets.errors import DiskFull, GaveUp, ShardError
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.shards import store as module
from r2_hf_assets.shards.build import Build, build_chunk
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets.shards.store import ShardStore, open_shards
from r2_hf_assets_tests.build_samples import (
    NO_WAIT,
    PREFIX,
    Flaky,
    chunk_of,
    limits,
    put_episode,
    use_obstore,
)

CHUNK = chunk_of("en/a", "en/b")


@pytest.fixture
def bucket() -> MemoryStore:
    """40 segments of 5 kB in two episodes, one with a hole."""
    store = MemoryStore()
    put_episode(store, "en/a", 20, size=5000, without=[3])
    put_episode(store, "en/b", 20, size=5000)
    return store


@pytest.fixture(params=["local", "remote"])
def shards(request, tmp_path) -> ShardStore:
    if request.param == "local":
        return replace(open_shards(limits(tmp_path), None), retry=NO_WAIT)
    return ShardStore(MemoryStore(), None, tmp_path / "scratch", keep=False, retry=NO_WAIT)


@pytest.fixture
def local(tmp_path) -> ShardStore:
    return replace(open_shards(limits(tmp_path), None), retry=NO_WAIT)


def make(shards: ShardStore, bucket: MemoryStore, chunk: Chunk = CHUNK, *, max_bytes: int = 10**7) -> BuildRecord:
    """Builds and publishes; parts of `max_bytes`."""
    with shards.building() as folder:
        settings = limits(folder, max_bytes=max_bytes, rowgroup_bytes=20_000)
        built = build_chunk(chunk, bucket, folder, settings, workers=4, retry=NO_WAIT)
        shards.publish(built)
    return built.record


def names(shards: ShardStore) -> list[str]:
    return sorted(item["path"] for batch in obstore.list(shards.store) for item in batch)


def test_what_is_published_is_found(shards, bucket):
    record = make(shards, bucket)
    assert names(shards) == ["en/chunk-00007.json", "en/chunk-00007.parquet", "en/chunk-00007.rejects.parquet"]
    assert shards.record("en", 7) == record
    with shards.files("en", record.files) as paths:
        [(name, path)] = paths.items()
        assert hashlib.sha256(path.read_bytes()).hexdigest() == record.files[0].sha256
        assert name == record.files[0].name
    assert os.listdir(shards.scratch / ".building") == []


def test_what_is_not_built_has_no_record(shards, bucket):
    assert shards.record("en", 7) is None
    make(shards, bucket)
    assert (shards.record("en", 8), shards.record("de", 7)) == (None, None)


def test_a_build_with_fewer_parts_leaves_no_stale_ones(shards, bucket):
    many = make(shards, bucket, max_bytes=150_000)
    assert len(many.files) > 1
    make(shards, bucket)
    assert names(shards) == ["en/chunk-00007.json", "en/chunk-00007.parquet", "en/chunk-00007.rejects.parquet"]
    again = make(shards, bucket, max_bytes=150_000)
    assert again == many
    kept = shards.record("en", 7)
    assert replace(kept, earlier=()) == many
    assert len(kept.earlier) == 1, "the single file of the build in between, which may be on the Hub"
    assert not {*kept.earlier} & {file.sha256 for file in many.files}
    assert "en/chunk-00007.parquet" not in names(shards)


def test_a_build_without_rejects_drops_the_old_ledger(shards, bucket):
    make(shards, bucket)
    put_episode(bucket, "en/a", 20, size=5000)
    make(shards, bucket)
    assert names(shards) == ["en/chunk-00007.json", "en/chunk-00007.parquet"]


def test_other_chunks_are_never_touched(shards, bucket):
    mine = replace(CHUNK, number=10_000)
    for number in (1000, 10_001, 100_000):
        make(shards, bucket, replace(CHUNK, number=number), max_bytes=150_000)
    make(shards, bucket, replace(mine, language="de"), max_bytes=150_000)
    before = set(names(shards))
    make(shards, bucket, mine, max_bytes=150_000)
    make(shards, bucket, mine)
    assert before <= set(names(shards)) and len(before) > 15


def test_an_episode_in_another_folder_writes_nowhere_else(shards):
    bucket = MemoryStore()
    put_episode(bucket, "EN us/..a", 2)
    make(shards, bucket, chunk_of("EN us/..a"))
    assert names(shards) == ["en/chunk-00007.json", "en/chunk-00007.parquet"]


def test_a_chunk_of_no_rows_has_a_record_and_no_shard(shards):
    record = make(shards, MemoryStore())
    assert names(shards) == ["en/chunk-00007.json", "en/chunk-00007.rejects.parquet"]
    assert shards.record("en", 7) == record and record.files == ()


def spied(shards: ShardStore, monkeypatch) -> list[str]:
    """What becomes visible and what goes, in order."""
    steps: list[str] = []
    for step in ("_put", "_write", "_delete"):
        real = getattr(ShardStore, step)

        def wrapped(self, first, *rest, step=step, real=real):
            steps.append(f"{step} {rest[0] if step == '_put' else first}")
            return real(self, first, *rest)

        monkeypatch.setattr(ShardStore, step, wrapped)
    return steps


def test_the_record_is_the_last_to_come_and_the_first_to_go(shards, bucket, monkeypatch):
    make(shards, bucket, max_bytes=150_000)
    steps = spied(shards, monkeypatch)
    make(shards, bucket)
    assert steps[:4] == [
        "_write en/chunk-00007.json",  # of no build
        "_put en/chunk-00007.parquet",
        "_put en/chunk-00007.rejects.parquet",
        "_write en/chunk-00007.json",
    ]
    assert {step.split("-part-")[0] for step in steps[4:]} == {"_delete en/chunk-00007"}


def test_the_same_build_again_never_hides_the_record(shards, bucket, monkeypatch):
    make(shards, bucket)
    steps = spied(shards, monkeypatch)
    make(shards, bucket)
    assert [step for step in steps if step.startswith("_delete")] == []


def test_a_publish_that_breaks_off_is_no_build(shards, bucket, monkeypatch):
    first = make(shards, bucket)
    put_episode(bucket, "en/a", 20, size=4000)

    def broken(self, path, name):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ShardStore, "_put", broken)
    with pytest.raises(DiskFull, match="no space"):
        make(shards, bucket)
    assert shards.record("en", 7) is None and shards.readable_records([("en", 7)]) == {}
    assert shards.built_sha256([("en", 7)]) == {("en", 7): {first.files[0].sha256}}, "it may be on the Hub"
    monkeypatch.undo()
    put_episode(bucket, "en/a", 20, size=3000)
    last = make(shards, bucket)
    assert shards.record("en", 7) == replace(last, earlier=(first.files[0].sha256,))


def test_a_damaged_record_is_told_and_mended_by_the_next_build(shards, bucket):
    record = make(shards, bucket)
    obstore.put(shards.store, "en/chunk-00007.json", b"{")
    with pytest.raises(ShardError, match="build the chunk again"):
        shards.record("en", 7)
    assert make(shards, bucket) == record == shards.record("en", 7)


def test_discard_drops_the_shards_and_keeps_record_and_ledger(shards, bucket):
    record = make(shards, bucket, max_bytes=150_000)
    shards.discard(record)
    shards.discard(record)
    assert names(shards) == ["en/chunk-00007.json", "en/chunk-00007.rejects.parquet"]
    assert shards.record("en", 7) == record


def test_keep_keeps_them(shards, bucket):
    record = make(shards, bucket)
    replace(shards, keep=True).discard(record)
    assert "en/chunk-00007.parquet" in names(shards)


def test_a_shard_that_is_gone_is_told(shards, bucket):
    record = make(shards, bucket)
    shards.discard(record)
    with (
        pytest.raises(ShardError, match=r"chunk-00007\.parquet is recorded .* materialize"),
        shards.files("en", record.files),
    ):
        pass
    assert os.listdir(shards.scratch / ".building") == []


def test_a_truncated_shard_is_refused(shards, bucket):
    record = make(shards, bucket)
    obstore.put(shards.store, "en/chunk-00007.parquet", b"x" * (record.files[0].size - 1))
    with pytest.raises(ShardError, match=f"{record.files[0].size} were built"), shards.files("en", record.files):
        pass


def test_passing_trouble_is_retried_and_then_given_up(shards, bucket, monkeypatch):
    trouble = {"get": Flaky(obstore.get, 4), "put": Flaky(obstore.put, 4), "delete": Flaky(obstore.delete, 4)}
    use_obstore(monkeypatch, module, **trouble)
    record = make(shards, bucket)
    with shards.files("en", record.files) as paths:
        assert paths[record.files[0].name].stat().st_size == record.files[0].size
    shards.discard(record)
    use_obstore(monkeypatch, module, get=Flaky(obstore.get, 5))
    with pytest.raises(GaveUp):
        shards.record("en", 7)


def folders(shards: ShardStore) -> set[str]:
    return set(os.listdir(shards.scratch / ".building"))


def test_a_building_folder_is_gone_whatever_happens(local):
    with local.building() as folder:
        assert folders(local) == {folder.name}
        (folder / "part-00").write_bytes(b"half a file")
    assert folders(local) == set()
    with pytest.raises(KeyError), local.building():
        raise KeyError
    assert folders(local) == set()


def test_building_folders_are_private(local):
    with local.building() as one, local.building() as other:
        assert one != other and folders(local) == {one.name, other.name}
        (one / "part-00").write_bytes(b"x")
        assert not (other / "part-00").exists()


def dead(local: ShardStore, name: str, *, lock: bool, age: float = 0.0) -> Path:
    folder = local.scratch / ".building" / name
    folder.mkdir(parents=True)
    (folder / "part-00").write_bytes(b"half a file")
    if lock:
        (folder / "lock").touch()
    os.utime(folder, (time.time() - age, time.time() - age))
    return folder


def test_folders_of_the_dead_are_swept_and_those_of_the_living_kept(local):
    killed = dead(local, "killed", lock=True)
    never_locked = dead(local, "never-locked", lock=False, age=3600)
    just_made = dead(local, "just-made", lock=False)
    with local.building() as living:
        (living / "part-00").write_bytes(b"precious")
        with local.building():
            assert (living / "part-00").read_bytes() == b"precious"
            assert not killed.exists() and not never_locked.exists()
            assert just_made.exists()


def test_a_local_shard_is_moved_and_not_copied(local, bucket, monkeypatch):
    moved: list[tuple[int, int]] = []
    put = ShardStore._put

    def watched(self, path: Path, name: str) -> None:
        before = path.stat().st_ino
        put(self, path, name)
        moved.append((before, (self.local / name).stat().st_ino))

    monkeypatch.setattr(ShardStore, "_put", watched)
    make(local, bucket)
    assert len(moved) == 2 and all(before == after for before, after in moved)


def test_where_a_local_file_lies(local, tmp_path):
    assert local.uri("en", "chunk-00007.parquet") == str((tmp_path / "shards/en/chunk-00007.parquet").resolve())


def test_parts_and_names_must_agree(local, bucket):
    record = make(local, bucket)
    with pytest.raises(ValueError, match="zip"):
        local.publish(Build(record, (), None))
    assert f"{PREFIX}en" not in names(local)
