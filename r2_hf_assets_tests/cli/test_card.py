"""`r2-hf process` and the dataset's card: now and then and at the end, not on request, and said when it can't be."""

from contextlib import nullcontext

import pytest
from dagster import DagsterInstance

from r2_hf_assets.cli import in_process as launch
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.sensors import stale_card
from r2_hf_assets_tests.cli.calls import call

CHUNKS = [ChunkRef("en", number, f"digest-{number}", 10) for number in range(3)]
ENVIRONMENT = {
    "R2_ENDPOINT_URL": "http://127.0.0.1:1",
    "R2_ACCESS_KEY_ID": "key",
    "R2_SECRET_ACCESS_KEY": "secret",
    "R2_BUCKET": "bucket",
    "HF_REPO_ID": "me/speech",
    "HF_TOKEN": "token",
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path) -> list[bool]:
    """Whether `at_once`, of each time that a card was asked for. Three chunks are due, and each goes well."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "open_instance", lambda: nullcontext("instance"))
    monkeypatch.setattr(launch, "due_chunks", lambda instance: CHUNKS)
    runs = [launch.ChunkRun(chunk, "run", None) for chunk in CHUNKS]
    monkeypatch.setattr(launch, "run_chunks", lambda instance, chunks, **_: iter(runs[: len(chunks)]))
    seen: list[bool] = []
    monkeypatch.setattr(launch, "refresh_card", lambda instance, *, at_once, asked: seen.append(at_once))
    return seen


def test_a_card_is_asked_for_after_each_chunk_and_at_once_after_the_last(asked, capfd):
    result = call(capfd, "process")
    assert (result.code, result.stderr[-1], asked) == (0, "3 chunks done, 0 failed", [False, False, True])


@pytest.mark.parametrize("options", [["--no-card"], ["--chunk-mod", "1", "--chunk-rem", "0"]])
def test_no_card_on_request_nor_by_one_of_several_machines(asked, capfd, options):
    assert call(capfd, "process", *options).code == 0
    assert asked == []


DAMAGED, REFUSED = "it is damaged", "the Hub refuses it"


@pytest.mark.parametrize(
    ("answers", "code"),
    [([None, None, DAMAGED], 1), ([DAMAGED, None, None], 0), ([DAMAGED, DAMAGED, REFUSED], 1)],
)
def test_a_card_that_fails_is_a_line_and_counts_if_it_is_the_last(asked, capfd, monkeypatch, answers, code):
    left, times = iter(answers), []

    def fails(instance, *, at_once, asked):
        times.append(asked)
        return next(left)

    monkeypatch.setattr(launch, "refresh_card", fails)
    result = call(capfd, "process")
    assert (result.code, result.stderr[-1]) == (code, "3 chunks done, 0 failed")
    assert [line for line in result.stderr if line.startswith("card")] == [
        f"card: FAILED: {error}" for error in answers if error
    ]
    assert times[0] is None and (times[1] is not None) == (answers[0] is not None)


def test_a_card_that_failed_is_not_tried_again_after_every_chunk(monkeypatch):
    """`asked` reaches the rule by which a card is due."""
    seen = []
    monkeypatch.setattr(stale_card, "card_state", lambda instance, asked: seen.append(asked))
    monkeypatch.setattr(stale_card, "refresh_reason", lambda state, minutes: "not yet")
    with DagsterInstance.ephemeral() as instance:
        assert launch.refresh_card(instance, at_once=False, asked=7.0) is None
    assert seen == [7.0]
