"""A watched transfer: it ends when nothing moves, and what moves is seen, over Xet and over LFS."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from r2_hf_assets import activity
from r2_hf_assets.hub import transfer
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.transfer import watched
from r2_hf_assets.settings import HubSettings
from r2_hf_assets_tests.world import World

SILENCE_S = 0.4
SIZE = 3_000_000


@pytest.fixture(autouse=True)
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "SILENCE_S", SILENCE_S)
    monkeypatch.setattr(transfer, "_END_S", 0.05)


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """What a call waits for that never comes; the test lets it go at its end."""
    event = threading.Event()
    yield event
    event.set()


def test_what_a_transfer_gives_is_given() -> None:
    assert watched(lambda: 7) == 7
    with pytest.raises(ValueError, match="odd"):
        watched(lambda: int("odd"))


def test_nothing_moves(never: threading.Event) -> None:
    with pytest.raises(TimeoutError, match="silence"):
        watched(never.wait)


def test_progress_elsewhere_in_the_process_is_none_of_the_transfer(never: threading.Event) -> None:
    over = threading.Event()

    def others() -> None:
        while not over.wait(0.01):
            activity.advance()

    thread = threading.Thread(target=others)
    thread.start()
    with pytest.raises(TimeoutError):
        watched(never.wait)
    over.set()
    thread.join()


def test_a_slow_one_that_moves_is_left_alone() -> None:
    pause = threading.Event()

    def slow() -> str:
        for _ in range(10):
            pause.wait(SILENCE_S / 8)
            activity.advance()
        return "done"

    assert watched(slow) == "done"


def test_one_that_was_given_up_ends_at_its_next_block() -> None:
    go, ended = threading.Event(), threading.Event()

    def stuck() -> None:
        go.wait(20)
        try:
            activity.advance()
        except activity.Left:
            ended.set()
            raise

    with pytest.raises(TimeoutError):
        watched(stuck)
    go.set()
    assert ended.wait(20)


def test_an_interrupt_does_not_wait_for_it(never: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(transfer, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        watched(never.wait)


def test_one_that_cannot_be_watched_gets_the_time_of_a_slow_line(
    never: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_can_be_watched", lambda: False)
    mark = activity.Mark()
    monkeypatch.setattr(activity, "PROCESS", mark)
    with pytest.raises(TimeoutError):
        watched(never.wait, 30_000)
    assert watched(lambda: mark.idle(), 2_000_000_000) < -19_000, "the heartbeat goes on meanwhile"


@pytest.mark.parametrize("over", ["Xet", "LFS"])
def test_an_upload_advances_with_its_bytes(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over: str
) -> None:
    monkeypatch.undo()
    hub = world.sandbox.hub
    world.api().create_repo(world.repo_id, repo_type="dataset")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", over == "LFS")
    client = HubClient(HubSettings(world.repo_id, hub.token, hub.endpoint))
    (tmp_path / "shard").write_bytes(random.Random(over).randbytes(SIZE))
    said: list[str] = []
    monkeypatch.setattr(activity, "advance", lambda *_: said.append("LFS"))
    monkeypatch.setattr(activity, "advancing", lambda: lambda: said.append("Xet"))
    client.upload([("data/en/chunk-00007.parquet", tmp_path / "shard")])
    blocks = SIZE // 65_536
    assert said.count(over) >= {"LFS": blocks, "Xet": 1}[over]
