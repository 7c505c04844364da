"""`r2-hf process` and the dataset's card: when it is refreshed, and how a failure is reported."""

from contextlib import nullcontext

import pytest
from dagster import DagsterInstance

from r2_hf_assets.cli import in_process
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.sensors import stale_card
from r2_hf_assets_tests.cli.calls import call
from r2_hf_assets_tests.conftest import REQUIRED

CHUNKS = [ChunkRef("en", number, f"digest-{number}", 10) for number in range(3)]


@pytest.fixture
def refreshes(monkeypatch: pytest.MonkeyPatch, tmp_path) -> list[bool]:
    """`at_once` of each refresh of the card. Three chunks are due, and each succeeds."""
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(in_process, "open_instance", lambda: nullcontext("instance"))
    monkeypatch.setattr(in_process, "due_chunks", lambda instance: CHUNKS)
    runs = [in_process.ChunkRun(chunk, "run", None) for chunk in CHUNKS]
    monkeypatch.setattr(in_process, "run_chunks", lambda instance, chunks, **_: iter(runs[: len(chunks)]))
    calls: list[bool] = []
    monkeypatch.setattr(in_process, "refresh_card", lambda instance, *, at_once, failed_at: calls.append(at_once))
    return calls


def test_the_card_is_refreshed_after_each_chunk_and_at_once_after_the_last(refreshes, capfd):
    result = call(capfd, "process")
    assert (result.code, result.stderr[-1], refreshes) == (0, "3 chunks done, 0 failed", [False, False, True])


@pytest.mark.parametrize("options", [["--no-card"], ["--chunk-mod", "1", "--chunk-rem", "0"]])
def test_no_card_is_written_on_request_or_by_one_of_several_machines(refreshes, capfd, options):
    assert call(capfd, "process", *options).code == 0
    assert refreshes == []


DAMAGED, REJECTED = "it is damaged", "the Hub rejects it"


@pytest.mark.parametrize(
    ("errors", "code"),
    [([None, None, DAMAGED], 1), ([DAMAGED, None, None], 0), ([DAMAGED, DAMAGED, REJECTED], 1)],
)
def test_a_card_error_is_one_line_and_sets_the_exit_code_if_it_is_the_last(refreshes, capfd, monkeypatch, errors, code):
    remaining, times = iter(errors), []

    def fails(instance, *, at_once, failed_at):
        times.append(failed_at)
        return next(remaining)

    monkeypatch.setattr(in_process, "refresh_card", fails)
    result = call(capfd, "process")
    assert (result.code, result.stderr[-1]) == (code, "3 chunks done, 0 failed")
    assert [line for line in result.stderr if line.startswith("card")] == [
        f"card: FAILED: {error}" for error in errors if error
    ]
    assert times[0] is None and (times[1] is not None) == (errors[0] is not None)


def test_a_failed_card_is_not_retried_after_every_chunk(monkeypatch):
    """`failed_at` reaches the rule by which a card is due."""
    times = []
    monkeypatch.setattr(stale_card, "card_state", lambda instance, failed_at: times.append(failed_at))
    monkeypatch.setattr(stale_card, "refresh_reason", lambda state, minutes: "not yet")
    with DagsterInstance.ephemeral() as instance:
        assert in_process.refresh_card(instance, at_once=False, failed_at=7.0) is None
    assert times == [7.0]
