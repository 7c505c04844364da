"""select_runs: plan order, limits, backoff, exhausted attempts, and the open circuit."""

from typing import Any

import pytest

from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.plan.dispatch import (
    MAX_CONSECUTIVE_FAILURES,
    AttemptHistory,
    OpenCircuit,
    RunOutcome,
    Selection,
    repeated_failure,
    select_runs,
)
from r2_hf_assets.retry import RUN_ATTEMPTS, RUN_FIRST_WAIT_S

NOW = 1_000_000.0
CHUNKS = [ChunkRef("de", 0, "d0", 3), *(ChunkRef("en", number, f"e{number}", 3) for number in range(6))]


def select(**changes: Any) -> Selection:
    usual: dict[str, Any] = {
        "due": CHUNKS,
        "active": (),
        "histories": {},
        "running": 0,
        "in_flight": 100,
        "per_tick": 100,
        "open_circuit": None,
        "now": NOW,
    }
    return select_runs(**{**usual, **changes})


def runs(selection: Selection) -> list[tuple[str, int, int]]:
    return [(*chunk.name, attempt) for chunk, attempt in selection.runs]


def test_without_limits_all_chunks_are_selected_in_plan_order() -> None:
    assert runs(select()) == [("de", 0, 1), *(("en", number, 1) for number in range(6))]
    assert select(due=[]).runs == []


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        ({"per_tick": 2}, 2),
        ({"in_flight": 3}, 3),
        ({"in_flight": 8, "running": 5}, 3),
        ({"in_flight": 8, "running": 8}, 0),
        ({"in_flight": 8, "running": 50}, 0),
        ({"in_flight": 8, "running": 5, "per_tick": 2}, 2),
    ],
)
def test_limits_cut_the_selection(limits: dict[str, int], count: int) -> None:
    assert runs(select(**limits)) == runs(select())[:count]


def test_a_chunk_with_an_active_run_is_not_requested_again() -> None:
    selection = select(active={("en", 0), ("fr", 9)}, per_tick=2)
    assert runs(selection) == [("de", 0, 1), ("en", 1, 1)] and selection.active == 1


@pytest.mark.parametrize(
    ("attempts", "delay"),
    [
        (0, RUN_FIRST_WAIT_S),  # failed in a run that the sensor did not request
        (1, RUN_FIRST_WAIT_S),
        (2, 4 * RUN_FIRST_WAIT_S),
        (3, 16 * RUN_FIRST_WAIT_S),
        (4, 64 * RUN_FIRST_WAIT_S),
    ],
)
def test_the_delay_grows_with_each_failed_attempt(attempts: int, delay: float) -> None:
    histories = {("en", 0): AttemptHistory(attempts, NOW)}
    early = select(histories=histories, now=NOW + delay - 1)
    assert ("en", 0) not in [name[:2] for name in runs(early)]
    assert early.waits == [1.0]
    late = select(histories=histories, now=NOW + delay)
    assert ("en", 0, attempts + 1) in runs(late) and late.waits == []


def test_a_chunk_is_not_requested_after_its_last_attempt() -> None:
    selection = select(histories={("en", 0): AttemptHistory(RUN_ATTEMPTS, 0.0)})
    assert selection.exhausted == [("en", 0)] and len(selection.runs) == 6


def test_a_terminated_chunk_is_not_requested() -> None:
    selection = select(histories={("en", 0): AttemptHistory(1, 0.0, terminated=True)})
    assert selection.terminated == [("en", 0)] and len(selection.runs) == 6


def test_delayed_chunks_do_not_count_toward_the_limit() -> None:
    histories = {("de", 0): AttemptHistory(1, NOW), ("en", 0): AttemptHistory(RUN_ATTEMPTS, NOW)}
    assert runs(select(histories=histories, per_tick=1)) == [("en", 1, 1)]


def test_an_open_circuit_allows_one_run_at_a_time() -> None:
    assert select(open_circuit=OpenCircuit("because", NOW)).runs == []
    long_ago = OpenCircuit("because", NOW - RUN_FIRST_WAIT_S)
    assert select(open_circuit=long_ago, running=1).runs == []
    assert runs(select(open_circuit=long_ago)) == [("de", 0, 1)]


@pytest.mark.parametrize(
    ("newest_first", "why"),
    [
        ("", None),
        ("f" * (MAX_CONSECUTIVE_FAILURES - 1), None),
        ("f" * MAX_CONSECUTIVE_FAILURES, "the last 8 runs failed"),
        ("f" * (MAX_CONSECUTIVE_FAILURES - 1) + "s", None),
        ("s" + "f" * MAX_CONSECUTIVE_FAILURES, None),
        ("!", "the last failure is of a kind that every run would meet"),
        ("f!", "the last failure is of a kind that every run would meet"),
        ("s!", None),
        ("fs!", None),
    ],
)
def test_a_systemic_failure_or_a_series_opens_the_circuit(newest_first: str, why: str | None) -> None:
    outcomes = {"s": RunOutcome.SUCCESS, "f": RunOutcome.FAILURE, "!": RunOutcome.SYSTEMIC_FAILURE}
    assert repeated_failure(outcomes[letter] for letter in newest_first) == why
