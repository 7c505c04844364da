"""A rebuild after objects are gone from the bucket: the chunk keeps its rows on the Hub until someone decides."""

from collections.abc import Callable
from typing import Any

import obstore
import pytest

from r2_hf_assets.amend.remove import remove
from r2_hf_assets.settings import load
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets_tests.cli.calls import call
from r2_hf_assets_tests.support.build_samples import put_episode
from r2_hf_assets_tests.support.world import World

KEY = "en|chunk_0000"


def put_and_build(world: World) -> None:
    for name in ("a", "b", "c"):
        put_episode(world.store(), f"en/{name}", 3, without=[1] if name == "c" else ())
    assert world.scan() is None
    assert [run.error for run in world.build_due()] == [None]


@pytest.fixture
def speech(in_process: World) -> World:
    """A committed chunk of three episodes; one audio was never there."""
    put_and_build(in_process)
    return in_process


def take_metadata(store: Any) -> None:
    obstore.delete(store, "processed/en/b/all_segments.json")


def take_audio(store: Any) -> None:
    obstore.delete(store, "processed/en/b/b_000000.mp3")


@pytest.mark.parametrize(
    ("take", "what", "word"),
    [
        (take_metadata, "1 x metadata_missing", "en/b"),
        (take_audio, "1 x audio_missing", "processed/en/b/b_000000.mp3"),
    ],
)
def test_a_rebuild_drops_no_rows_of_others(speech: World, take: Callable[[Any], None], what: str, word: str) -> None:
    remove(load(), ["en/a"], "takedown")
    take(speech.store())
    head = speech.head()
    error = speech.build(KEY)
    assert error is not None and f"would lose rows: {what} more than in its build on the Hub" in error
    assert (speech.head(), speech.due()) == (head, [KEY])

    remove(load(), [word], "gone from the bucket")
    assert [run.error for run in speech.build_due()] == [None]
    assert "/en/a/" not in " ".join(speech.row_keys())


def test_restored_objects_are_built(speech: World) -> None:
    remove(load(), ["en/a"], "takedown")
    take_metadata(speech.store())
    assert speech.build(KEY) is not None
    put_episode(speech.store(), "en/b", 3)
    assert [run.error for run in speech.build_due()] == [None]
    assert len(speech.row_keys()) == 5


def test_of_an_index_made_from_files_episodes_are_compared(
    in_process: World, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not tell which audio was missing."""
    with monkeypatch.context() as patch:
        patch.setattr(BuildRecord, "all_files", property(lambda record: record.files))  # as an earlier release
        put_and_build(in_process)
    assert call(capfd, "reconcile", "--write-index").code == 0
    take_metadata(in_process.store())
    remove(load(), ["en/a"], "takedown")
    error = in_process.build(KEY)
    assert error is not None and "1 x metadata_missing" in error
    remove(load(), ["en/b"], "gone from the bucket")
    assert [run.error for run in in_process.build_due()] == [None], "the audio of en/c was never there"
