"""Uploads over Xet by hf_xet: nothing is visible before the commit, and a failed upload registers nothing."""

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import hf_xet
import pytest

from r2_hf_assets import activity
from r2_hf_assets.errors import DamagedShard, DiskFull
from r2_hf_assets.hub import upload_xet as module
from r2_hf_assets.hub.build import open_upload
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import commit_chunk
from r2_hf_assets.hub.errors import TransferFailed
from r2_hf_assets.hub.upload_xet import _XET, _XET_SLOW, WatchedSession, _config, _XetUpload
from r2_hf_assets.shards.writer import Content
from r2_hf_assets_tests.hub.conftest import Body, registered
from r2_hf_assets_tests.hub.fake_repo import built
from r2_hf_assets_tests.hub.uploads import CLAIM, record_of, send, upload_chunk
from r2_hf_assets_tests.support.build_samples import limits
from r2_hf_assets_tests.support.world import World

STALL_S = 0.4


def sent_bytes(world: World, mark: int) -> int:
    """Return the bytes of all requests to the content store since `mark`."""
    requests = world.sandbox.hub.requests(mark)
    return sum(int(r["headers"].get("content-length", 0)) for r in requests if r["path"].startswith("/_cas/"))


def test_the_parts_of_an_upload_are_visible_after_the_commit_and_not_before(
    world: World, repo: HubClient, tmp_path: Path, body: Body
) -> None:
    parts = [body(3_000_000), body(700_000), body(10)]
    *data, index = parts
    record = upload_chunk(repo, tmp_path, *data, index=index)
    assert [(f.size, f.sha256) for f in record.all_files] == [(len(p), hashlib.sha256(p).hexdigest()) for p in parts]
    assert not (tmp_path / "scratch").exists(), "nothing is staged"
    assert world.files() == [] and len(world.api().list_repo_commits(repo.repo_id, repo_type="dataset")) == 1
    mark = world.sandbox.hub.mark()
    done = commit_chunk(repo, record, CLAIM)
    assert done.committed and sent_bytes(world, mark) == 0
    assert world.files() + world.indexes() == list(done.added)
    with world.dataset_folder() as folder:
        assert [(folder / path).read_bytes() for path in done.added] == parts


def test_an_upload_without_files_sends_nothing(world: World, repo: HubClient, tmp_path: Path) -> None:
    mark = world.sandbox.hub.mark()
    assert upload_chunk(repo, tmp_path).files == ()
    assert sent_bytes(world, mark) == 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt], ids=lambda kind: kind.__name__)
def test_leaving_by_an_exception_registers_nothing(
    world: World, repo: HubClient, tmp_path: Path, body: Body, error: type[BaseException]
) -> None:
    mark, parts = world.sandbox.hub.mark(), list[Content]()
    with pytest.raises(error), open_upload(repo, limits(tmp_path), "en", 7) as upload:
        parts.append(send(upload, body(2_000_000)))
        upload.begin().write(body(100_000))
        raise error
    assert not registered(world, mark)
    with pytest.raises(DamagedShard, match="run again to rebuild it") as refused:
        commit_chunk(repo, record_of(parts), CLAIM)
    assert "\n" not in str(refused.value)
    assert world.files() == []


def test_a_commit_of_absent_content_is_refused_in_one_line(world: World, repo: HubClient, body: Body) -> None:
    with pytest.raises(DamagedShard, match=r"^the Hub refuses the commit of en chunk-00007: .*; run again") as refused:
        commit_chunk(repo, built(body(2_000)), CLAIM)
    assert "\n" not in str(refused.value) and world.files() == []


def test_stored_content_is_not_sent_again_from_a_machine_with_an_empty_cache(
    world: World, repo: HubClient, tmp_path: Path, body: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, sent, records = [body(6_000_000), body(2_000_000)], [], []
    for home in ("one", "two"):
        monkeypatch.setenv("HF_HOME", str(tmp_path / home))
        mark = world.sandbox.hub.mark()
        records.append(upload_chunk(repo, tmp_path, *parts))
        sent.append(sent_bytes(world, mark))
    assert sent[0] > 8_000_000 and sent[1] < 20_000
    assert records[0] == records[1]
    assert commit_chunk(repo, records[1], CLAIM).committed


def test_an_orphaned_cache_is_removed_and_one_in_use_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third one is removed by its upload while the folder is listed."""
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    root = tmp_path / "xet" / "r2_hf_assets"
    orphan, used = root / "orphan", root / "used"
    orphan.mkdir(parents=True)
    used.mkdir()
    os.utime(orphan, (0, 0))
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter([folder / "removed", orphan, used]))
    with module._cache() as own:
        assert sorted(os.listdir(root)) == sorted(["used", Path(own).name])
    assert os.listdir(root) == ["used"]


# Stalled calls.


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_S", STALL_S)
    monkeypatch.setattr(module, "_ABORT_S", 0.05)


@pytest.mark.usefixtures("short")
def test_a_stalled_content_store_ends_the_upload_and_registers_nothing(
    world: World, repo: HubClient, tmp_path: Path, body: Body
) -> None:
    world.sandbox.hub.inject({"path_regex": "/v1/xorbs/", "silence": "read", "times": 1000})
    mark = world.sandbox.hub.mark()
    data = body(2_000_000)
    with pytest.raises(TimeoutError, match="no progress for"):
        upload_chunk(repo, tmp_path, data)
    world.sandbox.hub.clear_faults()
    assert not registered(world, mark)
    assert commit_chunk(repo, upload_chunk(repo, tmp_path, data), CLAIM).committed


def test_an_interrupt_does_not_wait_for_the_content_store(
    world: World, repo: HubClient, tmp_path: Path, body: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    world.sandbox.hub.inject({"path_regex": "/v1/xorbs/", "silence": "read", "times": 1000})
    mark = world.sandbox.hub.mark()
    with pytest.raises(KeyboardInterrupt), open_upload(repo, limits(tmp_path), "en", 7) as upload:
        send(upload, body(2_000_000))
        monkeypatch.setattr(module, "wait", interrupted)
    world.sandbox.hub.clear_faults()
    assert not registered(world, mark)


@dataclass
class Session:
    """A fake of hf_xet's session and its commit, whose byte counts a test advances."""

    aborts: int = 0
    total_bytes_completed: int = 0
    shard: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(total_shards_completed=0))

    def sigint_abort(self) -> None:
        self.aborts += 1

    def progress(self) -> "Session":
        return self


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def watched(session: Session) -> Iterator[WatchedSession]:
    with WatchedSession(session) as watched:
        watched.commit = session
        yield watched


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """An event that is set only after the test."""
    event = threading.Event()
    yield event
    event.set()


def test_a_call_returns_its_result_or_raises_its_error(watched: WatchedSession) -> None:
    def fill_disk() -> None:
        raise OSError("Internal error: No space left on device (os error 28)")

    assert watched.call(max, 6, 7) == 7
    with pytest.raises(TransferFailed, match="seven"):
        watched.call(int, "seven")
    with pytest.raises(DiskFull, match="HF_HOME"):
        watched.call(fill_disk)


@pytest.mark.usefixtures("short")
def test_a_stalled_call_aborts_its_session(watched: WatchedSession, session: Session, never: threading.Event) -> None:
    with pytest.raises(TimeoutError, match="no progress"):
        watched.call(never.wait)
    assert session.aborts == 1


@pytest.mark.usefixtures("short")
def test_progress_of_other_threads_is_not_the_uploads(watched: WatchedSession, never: threading.Event) -> None:
    over = threading.Event()

    def advance() -> None:
        while not over.wait(0.01):
            activity.advance()

    thread = threading.Thread(target=advance)
    thread.start()
    with pytest.raises(TimeoutError):
        watched.call(never.wait)
    over.set()
    thread.join()


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("counted", ["total_bytes_completed", "shard"])
def test_a_slow_call_with_progress_is_not_aborted_and_counts_as_progress(
    watched: WatchedSession, session: Session, monkeypatch: pytest.MonkeyPatch, counted: str
) -> None:
    pause, advanced = threading.Event(), list[None]()
    monkeypatch.setattr(activity, "advance", lambda *_: advanced.append(None))

    def slow() -> str:
        for _ in range(16):
            pause.wait(STALL_S / 8)
            if counted == "shard":
                session.shard.total_shards_completed += 1
            else:
                session.total_bytes_completed += 1
        return "done"

    assert watched.call(slow) == "done"
    assert session.aborts == 0 and len(advanced) > 2


def test_hf_xet_reports_counts_that_advance(repo: HubClient, tmp_path: Path, body: Body) -> None:
    with open_upload(repo, limits(tmp_path), "en", 7) as upload:
        assert isinstance(upload, _XetUpload)
        before = upload.session._progress()
        send(upload, body(300_000))
    after = upload.session._progress()
    assert len(before) == len(after) > 4 and sum(after) >= sum(before) + 300_000


# hf_xet's settings.

NAMES = {name: f"HF_XET_{name.upper().replace('.', '_')}" for name in (*_XET, *_XET_SLOW)}


def test_hf_xets_settings_are_set_and_a_users_variable_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in NAMES.values():
        monkeypatch.delenv(variable, raising=False)
    default = hf_xet.XetConfig()
    slow = _config(hf_xet.XetConfig(), fast=False)
    assert all(str(slow.get(name)) != str(default.get(name)) for name in NAMES)
    fast = _config(hf_xet.XetConfig(), fast=True)
    assert all(str(fast.get(name)) == str(default.get(name)) for name in _XET_SLOW)
    of_user = {
        "client.retry_max_attempts": "3",
        "client.connect_timeout": "7s",
        "client.read_timeout": "9s",
        "xorb.compression_policy": "lz4",
        "client.ac_max_upload_concurrency": "11",
    }
    for name, value in of_user.items():
        monkeypatch.setenv(NAMES[name], value)
    expected = hf_xet.XetConfig()
    config = _config(hf_xet.XetConfig(), fast=False)
    assert {name: str(config.get(name)) for name in NAMES} == {name: str(expected.get(name)) for name in NAMES}
    assert str(config.get("client.retry_max_attempts")) == "3"
